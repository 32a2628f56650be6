# SPDX-License-Identifier: Apache-2.0
"""Proves, before anything is changed, that staged files can be delivered from this node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tenacity

from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.restore.parts import Part
from magnetodb_backup.domain.restore.routing import Method
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import BackupError, Cancelled, Transient
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.stream import Loader, client_addresses

# A table that every Cassandra has; nothing is delivered to it.
_TABLE = TableName("system_traces", "events")
_ATTEMPTS = 3  # runs of the bulk loader while a node does not answer


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
                    lambda: self._import(directories, raise_if_cancelled),
                    Transient,  # a node that does not answer is asked again later
                )
            if Method.STREAM in methods and contacts:
                yield from _tried(
                    "the bulk loader cannot send files",
                    lambda: self._stream(directories[0], contacts, raise_if_cancelled),
                )

    def _import(self, directories: Sequence[Path], raise_if_cancelled: Callable[[], None]) -> None:
        names = [str(directory) for directory in directories]
        self._node.control.import_sstables(_TABLE, names, raise_if_cancelled)

    def _stream(
        self, directory: Path, contacts: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> None:
        addresses = client_addresses(self._node, contacts)
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            reraise=True,
        ):
            with attempt:
                self._loader.load(str(directory), addresses, raise_if_cancelled)


def _tried(
    what: str, attempt: Callable[[], None], raised: type[BackupError] = Cancelled
) -> Iterator[str]:
    """Yield the error of an attempt, unless it is a ``raised`` or a cancellation."""
    try:
        attempt()
    except BackupError as error:
        if isinstance(error, raised | Cancelled):
            raise
        yield f"{what}: {error}"
