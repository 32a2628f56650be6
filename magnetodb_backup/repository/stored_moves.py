# SPDX-License-Identifier: Apache-2.0
"""The stored moves of a node: two copies, so that the loss of one object loses no backup.

Readers use the copy in the container of the cluster, which is written last. The one beside the
packs replaces it if it is lost or damaged, until the next collection stores both again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.format.moves import Move, MovesHeader, write_moves
from magnetodb_backup.repository.moves import Moves
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.guarded import guarded

LOG = logging.getLogger(__name__)
_SLICE = 1024 * 1024


@dataclass(frozen=True)
class Newest:
    """The valid moves; ``healthy`` if both copies are these."""

    moves: Moves
    healthy: bool


class StoredMoves:
    """Reads and writes both copies; ``places`` are containers and names, that of readers first."""

    def __init__(self, driver: StorageDriver, places: Mapping[str, str], host_id: str) -> None:
        self._driver, self._places, self._host_id = driver, places, host_id

    def guarded(self, check: Callable[[], None]) -> StoredMoves:
        """Return a copy that calls ``check`` before each request that changes a copy.

        A collection that has ended must not replace later moves. What ``check`` raises ends the
        request, whose repetitions are such requests too.
        """
        return StoredMoves(guarded(self._driver, check), self._places, self._host_id)

    def located(self, entries: Iterator[FileEntry]) -> Iterator[FileEntry]:
        """Yield files with the extents where their bytes are now.

        :raises FormatProblem: if there are moves and no copy is readable.
        """
        moves = self._for_readers()
        if moves is None:
            yield from entries
            return
        with moves:
            for entry in entries:
                yield moves.located(entry)

    def unmoved(self, entries: Iterator[FileEntry]) -> Iterator[FileEntry]:
        """Yield those of the files whose bytes were not moved; the errors are the same."""
        moves = self._for_readers()
        if moves is None:
            yield from entries
            return
        with moves:
            for entry in entries:
                if moves.located(entry) == entry:
                    yield entry

    def _for_readers(self) -> Moves | None:
        """Return the moves of one copy: with an earlier generation the bytes are still there."""
        problem = None
        for container in self._places:
            try:
                return self._load(container)
            except NotFound:
                pass  # usually in both places: nothing was moved
            except FormatProblem as error:
                LOG.warning("node %s: %s", self._host_id, error)
                problem = error
        if problem is not None:
            raise problem
        return None

    def newest(self) -> Newest:
        """Return the moves that are valid, for a collection; they are empty if there are none.

        :raises FormatProblem: if it is not certain which ones are valid.
        """
        found: list[Moves] = []
        problems: list[FormatProblem] = []
        for container in self._places:
            try:
                found.append(self._load(container))
            except NotFound:
                pass
            except FormatProblem as error:
                problems.append(error)
        if not found:
            if problems:
                raise problems[0]
            return Newest(Moves(), healthy=True)
        newest = max(found, key=lambda moves: moves.generation)
        for older in found:
            if older is not newest:
                older.close()
        equal = [m for m in found if m.generation == newest.generation]
        if len({moves.sha256 for moves in equal}) > 1:
            raise FormatProblem(
                f"the copies of the moves of node {self._host_id} have generation "
                f"{newest.generation} and differ; remove the one that another program has stored"
            )
        return Newest(newest, healthy=len(equal) == len(self._places))

    def store(self, moves: Iterable[Move], generation: int, spool_directory: Path) -> None:
        """Store both copies, that of the readers last.

        :raises CorruptObject: if a copy reads back as other bytes.
        """
        with tempfile.TemporaryFile(dir=spool_directory) as spool:
            file = cast(BinaryIO, spool)
            write_moves(file, MovesHeader(self._host_id, generation), moves)
            for container in reversed(list(self._places)):
                self._put(container, file)

    def remove(self) -> None:
        """Remove both copies, that of the readers first; they need not exist."""
        for container, name in self._places.items():
            self._driver.delete(container, name)

    def _load(self, container: str) -> Moves:
        name, moves = self._places[container], Moves()
        try:
            moves.load(self._driver.read_newest(container, name), name, self._host_id)
        except BaseException:
            moves.close()
            raise
        return moves

    def _put(self, container: str, file: BinaryIO) -> None:
        name = self._places[container]
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        file.seek(0)
        while piece := file.read(_SLICE):
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
        file.seek(0)
        self._driver.put(container, name, file, size=size, md5=md5.hexdigest())
        found = hashlib.sha256()
        for piece in self._driver.read_newest(container, name):
            found.update(piece)
        if found.digest() != sha256.digest():
            raise CorruptObject(f"{name} in {container} reads back as other bytes than were stored")
