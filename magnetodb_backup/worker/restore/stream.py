# SPDX-License-Identifier: Apache-2.0
"""The task of a restore that sends staged SSTables to the nodes that own their rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from magnetodb_backup.cassandra.control.sstableloader import Loaded
from magnetodb_backup.cassandra.files.ledger import Ledger
from magnetodb_backup.cassandra.files.staging import StagedSSTable, Staging
from magnetodb_backup.domain.restore.records import RestoreProgress
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.steps import is_sai
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import RestoreRefused, SSTableRefused, StreamFailed
from magnetodb_backup.tasks.restore_delivery import Streamed, StreamParts
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.confirm import confirm_staged
from magnetodb_backup.worker.restore.import_ import note, noted, sources_of, targets_of
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)
# SSTables and bytes of one run of sstableloader, which takes seconds to start; a failed run sends
# everything again.
_BATCH, _BATCH_BYTES = 100, 10 * 1024**3
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds, doubled each time


class Loader(Protocol):
    """Sends the SSTables of a directory ``…/<keyspace>/<table>``."""

    def load(
        self, directory: str, contacts: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> Loaded:
        """Send the SSTables to the nodes that own their rows; ``contacts`` are addresses.

        Raises SSTableRefused or StreamFailed.
        """


class StreamWork:
    """Streaming by Cassandra's bulk loader."""

    def __init__(self, node: LocalNode, loader: Loader) -> None:
        self._node, self._loader = node, loader

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [handles(StreamParts, self._stream)]

    def _stream(self, task: StreamParts, context: TaskContext) -> Streamed:
        """Send the staged SSTables; sent ones leave the staging directory, refused ones stay.

        So a repeated task sends the rest; a batch that was sent twice does no harm.
        """
        parts = task.own_parts()
        staging = Staging(self._node.data_directories(), task.restore_id)
        confirm_staged(staging, parts, task.expected)
        ledger = Ledger(staging)
        refused: dict[str, list[str]] = noted(staging)
        wanted = targets_of(parts)
        staged = {t: s for t, s in staging.sstables(sources_of(parts)).items() if t in wanted}
        self._refuse_sai(set(staged))
        contacts = client_addresses(self._node, task.contacts) if staged else []
        sent = 0
        for table, sstables in sorted(staged.items()):
            for batch in _batches(sstables):
                size, reasons = self._send(staging, table, batch, contacts, context)
                sent += size
                for sstable, reason in reasons.items():
                    known = refused.setdefault(str(table), [])
                    if not any(k.startswith(sstable.name) for k in known):  # an attempt that died
                        known.append(f"{sstable.name} ({reason})")
                        note(staging, refused)
                    sstable.put_aside()
                delivered = [s for s in batch if s not in reasons]
                for source in sorted({s.source for s in delivered}):
                    ledger.hand_over(
                        source, table, [s.sstable for s in delivered if s.source == source]
                    )
                for sstable in delivered:
                    sstable.remove()
                context.report(RestoreProgress(bytes_sent=sent))
        confirm_staged(staging, parts, task.expected)
        return Streamed(
            bytes_sent=sent, refused={t: tuple(reasons) for t, reasons in refused.items()}
        )

    def _send(
        self,
        staging: Staging,
        table: TableName,
        batch: Sequence[StagedSSTable],
        contacts: Sequence[str],
        context: TaskContext,
    ) -> tuple[int, Mapping[StagedSSTable, str]]:
        """Send SSTables at once or, if that fails permanently, one by one.

        Return the sent bytes and the refused SSTables with the reason.
        """
        directory, names = staging.gather(table, batch)
        try:
            loaded = self._load(directory, contacts, context)
        except (SSTableRefused, StreamFailed) as error:
            if len(batch) == 1:
                return 0, {batch[0]: str(error)}
            LOG.warning("%s is sent SSTable by SSTable: %s", table, error)
            sent = 0
            refused: dict[StagedSSTable, str] = {}
            for sstable in batch:
                size, reasons = self._send(staging, table, [sstable], contacts, context)
                sent += size
                refused.update(reasons)
            return sent, refused
        finally:
            staging.forget_gathered(table)
        return loaded.bytes_sent, {
            names[name]: reason.replace(name, names[name].sstable)
            for name, reason in loaded.skipped.items()
            if name in names
        }

    def _load(self, directory: Path, contacts: Sequence[str], context: TaskContext) -> Loaded:
        """Run the loader; a failed run is repeated a few times."""
        for attempt in range(_ATTEMPTS):
            context.raise_if_cancelled()
            try:
                return self._loader.load(str(directory), contacts, context.raise_if_cancelled)
            except StreamFailed as error:
                if attempt == _ATTEMPTS - 1:
                    raise
                LOG.info("%s; trying again", error)
                _pause(_PAUSE * (1 << attempt), context.raise_if_cancelled)
        raise AssertionError("unreachable")

    def _refuse_sai(self, tables: set[TableName]) -> None:
        """Raise if there is a storage-attached index: nodes would refuse every SSTable."""
        found = [
            f"{s.name} of {TableName(s.keyspace, s.table)}"
            for s in (Schema.read(self._node.cql().schema_rows()).statements if tables else ())
            if is_sai(s) and TableName(s.keyspace, s.table) in tables
        ]
        if found:
            raise RestoreRefused(
                f"storage-attached indexes were created after preflight: {'; '.join(found)}. "
                "Cassandra takes no streamed SSTables next to them; drop them, and repeat the "
                "restore"
            )


def client_addresses(node: LocalNode, contacts: Sequence[str]) -> list[str]:
    """Return where these members of the ring serve clients, as sstableloader reads it."""
    native = node.cql().native_addresses()
    return [_endpoint(*native.get(contact, (contact, None))) for contact in contacts]


def _endpoint(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _batches(sstables: Sequence[StagedSSTable]) -> Iterator[list[StagedSSTable]]:
    batch: list[StagedSSTable] = []
    size = 0
    for sstable in sstables:
        if batch and (len(batch) >= _BATCH or size + sstable.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(sstable)
        size += sstable.size
    if batch:
        yield batch


def _pause(seconds: float, raise_if_cancelled: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        raise_if_cancelled()
        time.sleep(min(left, 0.5))
