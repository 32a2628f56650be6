# SPDX-License-Identifier: Apache-2.0
"""The threads of a download: each reads a range of a pack, writes and hashes its pieces."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from magnetodb_backup.errors import CorruptObject, NotFound, ObjectTooShort
from magnetodb_backup.repository.download.partial_files import created, disk_errors, reopened, write
from magnetodb_backup.repository.download.publisher import FilePublisher, Tally
from magnetodb_backup.repository.download.ranges import Piece, Read, WantedFile
from magnetodb_backup.repository.node import NodeRepository

_WAIT = 0.5  # seconds between two checks for cancellation
_SLICE = 1024 * 1024
_NAMED = 3
_REMEDY = (
    "run magnetodb-backup-manage backup verify --read-data to find all damage, and restore from "
    "another backup"
)


class _Stopped(Exception):
    """Another thread failed; its error is the one to raise."""


class _SpannedFile:
    """A file of several extents, hashed in file order as its pieces are written."""

    def __init__(self, file: WantedFile) -> None:
        self._file = file
        self.pieces: list[Piece] = []
        self.digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._ready: dict[int, int] = {}
        self._next = 0
        self._busy = False

    def written(self, piece: Piece, descriptor: int, go_on: Callable[[], None]) -> bool:
        """Record that ``piece`` is written; return True once, when the whole file is hashed."""
        with self._lock:
            self._ready[piece.position] = piece.length
            if self._busy:
                return False
            self._busy = True
        while True:
            with self._lock:
                length = self._ready.pop(self._next, None)
                if length is None:
                    self._busy = False
                    return self._next == self._file.size
            self._hash(descriptor, length, go_on)
            self._next += length

    def _hash(self, descriptor: int, length: int, go_on: Callable[[], None]) -> None:
        for offset in range(self._next, self._next + length, _SLICE):
            go_on()
            with disk_errors(self._file.path):
                size = min(_SLICE, self._next + length - offset)
                body = os.pread(descriptor, size, offset)
            self.digest.update(body)
        with disk_errors(self._file.path):
            # Keep the page cache for Cassandra.
            os.posix_fadvise(descriptor, self._next, length, os.POSIX_FADV_DONTNEED)


class Fetcher:
    """Fetches ranges with ``concurrency`` threads; memory is a few of the driver's chunks each."""

    def __init__(
        self,
        repository: NodeRepository,
        publisher: FilePublisher,
        tally: Tally,
        *,
        concurrency: int,
        raise_if_cancelled: Callable[[], None],
    ) -> None:
        self._repository, self._publisher, self._tally = repository, publisher, tally
        self._concurrency, self._raise_if_cancelled = concurrency, raise_if_cancelled
        self._slots = threading.Semaphore(concurrency * 2)
        self._spanned: dict[int, _SpannedFile] = {}
        self._failed = threading.Event()
        self._error: BaseException | None = None

    def run(self, empty: Iterable[WantedFile], reads: Iterable[Read]) -> None:
        """Fetch everything; the first error of any thread stops all threads and is raised."""
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="fetch") as pool:
            self._guarded(self._make_empty, empty)
            self._guarded(self._submit_all, reads, pool)
        if self._error is not None:
            raise self._error

    def _make_empty(self, files: Iterable[WantedFile]) -> None:
        nothing = hashlib.sha256().hexdigest()
        for file in files:
            self._go_on()
            if file.sha256 != nothing:
                raise CorruptObject(
                    f"{file.label} of node {self._repository.host_id} is empty, but its SHA-256 in "
                    f"the manifest is not that of an empty file: the manifest is damaged; {_REMEDY}"
                )
            with created(file.path, 0):
                pass
            self._publisher.add(file)

    def _submit_all(self, reads: Iterable[Read], pool: ThreadPoolExecutor) -> None:
        for read in reads:
            self._acquire_slot()
            for piece in read.pieces:
                if piece.file.parts > 1:
                    self._expect(piece)
            pool.submit(self._guarded, self._fetch, read)
        for _ in range(self._concurrency * 2):  # all slots are free: no range is being fetched
            self._acquire_slot()

    def _acquire_slot(self) -> None:
        while not self._slots.acquire(timeout=_WAIT):
            self._go_on()
            self._publisher.flush_old()
        self._go_on()

    def _expect(self, piece: Piece) -> None:
        """Create the file when its first piece is requested."""
        spanned = self._spanned.get(piece.file.number)
        if spanned is None:
            spanned = self._spanned[piece.file.number] = _SpannedFile(piece.file)
            with created(piece.file.path, piece.file.size):
                pass
        spanned.pieces.append(piece)

    def _go_on(self) -> None:
        if self._failed.is_set():
            raise _Stopped
        self._raise_if_cancelled()

    def _get_on(self) -> None:
        """Show that the download gets on, while it reads a file that it has written."""
        self._go_on()
        self._tally.add()

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            self._go_on()
            action(*arguments)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - run() raises it
            if not self._failed.is_set():
                self._error = error
                self._failed.set()

    def _fetch(self, read: Read) -> None:
        try:
            with contextlib.closing(_Pieces(self, read)) as pieces:
                for start, chunk in self._chunks(read.pack, read.start, read.length, read.pieces):
                    pieces.take(start, chunk)
        finally:
            self._slots.release()

    def _chunks(
        self, pack: str, start: int, length: int, pieces: tuple[Piece, ...]
    ) -> Iterator[tuple[int, memoryview]]:
        """Yield bytes of a pack, each chunk with its offset."""
        try:
            for chunk in self._repository.read_pack(pack, start, length):
                self._go_on()
                self._tally.add(bytes_downloaded=len(chunk))
                yield start, memoryview(chunk)
                start += len(chunk)
        except NotFound:
            raise CorruptObject(
                f"pack {pack} of node {self._repository.host_id} is missing; it is needed for "
                f"{_labels(pieces)}; {_REMEDY}"
            ) from None
        except ObjectTooShort as error:
            raise CorruptObject(
                f"pack {pack} of node {self._repository.host_id} is too short for "
                f"{_labels(pieces)} ({error}); {_REMEDY}"
            ) from None

    def whole(self, piece: Piece, sha256: str) -> None:
        """Complete a file of one piece, whose written bytes have this digest."""
        if sha256 != piece.file.sha256:
            self._again(piece.file, [piece])
        self._publisher.add(piece.file)

    def part(self, piece: Piece, descriptor: int) -> None:
        """Complete a file of several pieces after its last one."""
        spanned = self._spanned[piece.file.number]
        if not spanned.written(piece, descriptor, self._get_on):
            return
        del self._spanned[piece.file.number]
        if spanned.digest.hexdigest() != piece.file.sha256:
            self._again(piece.file, sorted(spanned.pieces, key=lambda p: p.position))
        self._publisher.add(piece.file)

    def _again(self, file: WantedFile, pieces: list[Piece]) -> None:
        """Read a file once more: its bytes may have been corrupted in transit."""
        digest = hashlib.sha256()
        wrong: list[str] = []
        with created(file.path, file.size) as descriptor:
            for piece in pieces:
                own = hashlib.sha256()
                for start, chunk in self._chunks(piece.pack, piece.start, piece.length, (piece,)):
                    write(file.path, descriptor, chunk, piece.position + start - piece.start)
                    digest.update(chunk)
                    own.update(chunk)
                if own.hexdigest() != piece.pack:  # each extent of a large file is a whole pack
                    wrong.append(piece.pack)
        if digest.hexdigest() != file.sha256:
            packs = wrong or [piece.pack for piece in pieces]
            raise CorruptObject(
                f"{file.label} of node {self._repository.host_id} has SHA-256 "
                f"{digest.hexdigest()}, the manifest says {file.sha256}; its bytes come from pack "
                f"{_some(packs)}; {_REMEDY}"
            )


class _Pieces:
    """Cuts the pieces of a range out of the received chunks.

    Small files are collected in memory; one large piece is open at a time.
    """

    def __init__(self, fetcher: Fetcher, read: Read) -> None:
        self._fetcher = fetcher
        self._coming = deque(read.pieces)
        self._small: list[Piece] = []
        self._kept = b""  # the bytes before the next chunk that small files still need
        self._large: _Large | None = None

    def take(self, start: int, chunk: memoryview) -> None:
        """Process the pack's bytes from ``start``, where the last chunk ended."""
        while self._coming and self._coming[0].start < start + len(chunk):
            piece = self._coming.popleft()
            if piece.is_small_file:
                self._small.append(piece)
            else:  # a range never overlaps large pieces: the previous one ends in this chunk
                self._take_large(start, chunk)
                self._large = _Large(self._fetcher, piece)
        self._take_large(start, chunk)
        if self._small:
            self._take_small(start, chunk)

    def close(self) -> None:
        """Close the open piece."""
        if self._large is not None:
            self._large.close()

    def _take_large(self, start: int, chunk: memoryview) -> None:
        if self._large is not None and self._large.take(start, chunk):
            self._large = None

    def _take_small(self, start: int, chunk: memoryview) -> None:
        start -= len(self._kept)
        view = memoryview(self._kept + bytes(chunk)) if self._kept else chunk
        waiting = []
        for piece in self._small:
            if piece.end > start + len(view):
                waiting.append(piece)
                continue
            body = view[piece.start - start : piece.end - start]
            with created(piece.file.path, piece.length) as descriptor:
                write(piece.file.path, descriptor, body, 0)
            self._fetcher.whole(piece, hashlib.sha256(body).hexdigest())
        self._small = waiting
        self._kept = bytes(view[min(p.start for p in waiting) - start :]) if waiting else b""


class _Large:
    """A large piece, written as it is received."""

    def __init__(self, fetcher: Fetcher, piece: Piece) -> None:
        self._fetcher, self._piece = fetcher, piece
        self._digest = hashlib.sha256()
        self._whole = piece.file.parts == 1
        path = piece.file.path
        self._open = created(path, piece.file.size) if self._whole else reopened(path)
        self._descriptor = self._open.__enter__()

    def take(self, start: int, chunk: memoryview) -> bool:
        """Write the part of the chunk that belongs to the piece; return True at its end."""
        piece = self._piece
        begin, end = max(piece.start, start), min(piece.end, start + len(chunk))
        body = chunk[begin - start : end - start]
        if self._whole:
            self._digest.update(body)
        write(piece.file.path, self._descriptor, body, piece.position + begin - piece.start)
        if end < piece.end:
            return False
        if not self._whole:
            self._fetcher.part(piece, self._descriptor)
        self.close()
        if self._whole:
            self._fetcher.whole(piece, self._digest.hexdigest())
        return True

    def close(self) -> None:
        self._open.__exit__(None, None, None)


def _labels(pieces: tuple[Piece, ...]) -> str:
    return _some([piece.file.label for piece in pieces])


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
