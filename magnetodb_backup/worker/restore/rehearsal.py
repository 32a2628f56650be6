# SPDX-License-Identifier: Apache-2.0
"""Proves, before anything is changed, that staged files can be delivered from this node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.routing import Method
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import BackupError, Cancelled
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.stream import Loader, client_addresses

# A table that every Cassandra has; nothing is delivered to it.
_TABLE = TableName("system_traces", "events")


class Rehearsal:
    """Imports and streams empty directories, which changes nothing.

    By the import Cassandra checks that it may change directories like those of staged files; by the
    run of the bulk loader it is known that the program starts, is accepted and finds the ring.
    """

    def __init__(self, node: LocalNode, loader: Loader) -> None:
        self._node, self._loader = node, loader

    def problems(
        self,
        restore_id: str,
        parts: Sequence[Part],
        contacts: Sequence[str],
        raise_if_cancelled: Callable[[], None],
    ) -> Iterator[str]:
        """Yield what would fail when the parts are delivered.

        :param contacts: addresses of the target's nodes in the ring; none if nothing is streamed
        """
        methods = {part.method for part in parts}
        staging = Staging(self._node.known().data_directories, restore_id)
        with staging.rehearsal(_TABLE) as directories:
            if Method.IMPORT in methods:
                yield from _tried(
                    "Cassandra cannot take over files that this worker stages",
                    lambda: self._import(directories),
                )
            if Method.STREAM in methods and contacts:
                yield from _tried(
                    "the bulk loader cannot send files",
                    lambda: self._stream(directories[0], contacts, raise_if_cancelled),
                )

    def _import(self, directories: Sequence[Path]) -> None:
        self._node.control.import_sstables(_TABLE, [str(d) for d in directories])

    def _stream(
        self, directory: Path, contacts: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> None:
        addresses = client_addresses(self._node, contacts)
        self._loader.load(str(directory), addresses, raise_if_cancelled)


def _tried(what: str, attempt: Callable[[], None]) -> Iterator[str]:
    try:
        attempt()
    except Cancelled:
        raise
    except BackupError as error:
        yield f"{what}: {error}"
