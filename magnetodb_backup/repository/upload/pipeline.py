# SPDX-License-Identifier: Apache-2.0
"""The threads of an upload: readers fill and hash buffers, putters store them."""

from __future__ import annotations

import hashlib
import queue
import threading
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from magnetodb_backup.domain.backup.manifest import Extent, SnapshotFile
from magnetodb_backup.domain.backup.packing import Unit
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex, Known
from magnetodb_backup.repository.upload.recorder import Countdown, Recorder
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.repository.upload.snapshot_reader import expected_crc32, fill, opened
from magnetodb_backup.repository.upload.stored_packs import StoredPacks

_WAIT = 0.5  # seconds between two checks for cancellation


class _Stopped(Exception):
    """Another thread failed; its error is the one to raise."""


class Engine:
    """Uploads units. It holds at most ``readers + concurrency`` buffers of ``pack_size`` bytes.

    ``check_corrupt`` is called with the path of a corrupt Data.db and may raise.
    """

    def __init__(
        self,
        repository: NodeRepository,
        packs: StoredPacks,
        recorder: Recorder,
        index: FileIndex,
        settings: UploadSettings,
        *,
        check_corrupt: Callable[[str], None],
        raise_if_cancelled: Callable[[], None],
    ) -> None:
        self._repository, self._packs = repository, packs
        self._recorder, self._index = recorder, index
        self._pack_size = settings.pack_size
        self._readers, self._concurrency = settings.readers, settings.concurrency
        self._check_corrupt, self._raise_if_cancelled = check_corrupt, raise_if_cancelled
        self._buffers: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        for _ in range(self._readers + self._concurrency):
            self._buffers.put(None)  # allocated at first use: small backups take little memory
        self._slots = threading.Semaphore(self._readers * 2)
        self._failed = threading.Event()
        self._error: BaseException | None = None
        self._putting: ThreadPoolExecutor

    def run(self, units: Iterable[Unit]) -> None:
        """Upload all units; the first error of any thread stops all threads and is raised."""
        with (
            ThreadPoolExecutor(self._concurrency, thread_name_prefix="put") as self._putting,
            ThreadPoolExecutor(self._readers, thread_name_prefix="read") as reading,
        ):
            self._guarded(self._submit_all, units, reading)
        if self._error is not None:
            raise self._error

    def _submit_all(self, units: Iterable[Unit], reading: ThreadPoolExecutor) -> None:
        for unit in units:
            while not self._slots.acquire(timeout=_WAIT):
                self._go_on()
            self._go_on()
            reading.submit(self._guarded, self._read, unit)

    def _go_on(self) -> None:
        if self._failed.is_set():
            raise _Stopped
        self._raise_if_cancelled()

    def _fail(self, error: BaseException) -> None:
        if not self._failed.is_set():
            self._error = error
            self._failed.set()

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            self._go_on()
            action(*arguments)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - run() raises it
            self._fail(error)

    def _take_buffer(self) -> bytearray:
        while True:
            self._go_on()
            try:
                buffer = self._buffers.get(timeout=_WAIT)
            except queue.Empty:
                continue
            return bytearray(self._pack_size) if buffer is None else buffer

    def _read(self, unit: Unit) -> None:
        try:
            if unit.size > self._pack_size:
                self._read_large(unit.files[0])
            else:
                self._read_group(unit)
        finally:
            self._slots.release()

    # Files that share a pack.

    def _read_group(self, unit: Unit) -> None:
        buffer = self._take_buffer()
        handed_over = False
        try:
            view = memoryview(buffer)
            offsets: dict[str, tuple[int, int]] = {}
            waiting: list[tuple[SnapshotFile, Known]] = []
            used = 0
            for file in unit.files:
                part = view[used : used + file.size]
                with opened(file) as descriptor:
                    self._fill(file, descriptor, part, 0)
                sha256 = hashlib.sha256(part).hexdigest()
                known = self._judged(file, sha256, zlib.crc32(part))
                stored = self._stored(sha256)
                if stored is not None or not file.size:
                    self._learn(file, known, stored or (), reused=stored is not None)
                    continue
                waiting.append((file, known))
                if sha256 not in offsets:
                    offsets[sha256] = (used, file.size)
                    used += file.size
            if waiting:
                body = view[:used]
                only = next(iter(offsets)) if len(offsets) == 1 else ""
                pack = only or hashlib.sha256(body).hexdigest()

                def done() -> None:
                    for file, known in waiting:
                        extent = Extent(pack, *offsets[known.sha256])
                        self._learn(file, known, (extent,), reused=False)

                handed_over = True
                self._putting.submit(self._put, buffer, body, pack, done)
        finally:
            if not handed_over:
                self._buffers.put(buffer)

    # A file that needs several packs.

    def _read_large(self, file: SnapshotFile) -> None:
        if self._index.has_size(file.size) and self._is_known(file):
            return
        slices = -(-file.size // self._pack_size)
        sha256, crc32 = hashlib.sha256(), 0
        judged: list[Known] = []

        def stored(extents: tuple[Extent, ...]) -> None:
            self._learn(file, judged[0], extents, reused=False)

        # The last slice is handed over when the whole file's digest is known: see below.
        countdown = Countdown(slices, stored)
        last: tuple[bytearray, memoryview, str, int] | None = None
        with opened(file) as descriptor:
            for number in range(slices):
                offset = number * self._pack_size
                buffer = self._take_buffer()
                try:
                    view = memoryview(buffer)[: min(self._pack_size, file.size - offset)]
                    self._fill(file, descriptor, view, offset)
                    sha256.update(view)
                    crc32 = zlib.crc32(view, crc32)
                    pack = hashlib.sha256(view).hexdigest()
                except BaseException:
                    self._buffers.put(buffer)
                    raise
                if number == slices - 1:
                    last = (buffer, view, pack, number)
                else:
                    self._submit_slice(countdown, buffer, view, pack, number)
        assert last is not None
        try:
            judged.append(self._judged(file, sha256.hexdigest(), crc32))
        except BaseException:
            self._buffers.put(last[0])
            raise
        self._submit_slice(countdown, *last)

    def _submit_slice(
        self, countdown: Countdown, buffer: bytearray, view: memoryview, pack: str, number: int
    ) -> None:
        extent = Extent(pack, 0, len(view))
        self._putting.submit(
            self._put, buffer, view, pack, lambda: countdown.stored(number, extent)
        )

    def _is_known(self, file: SnapshotFile) -> bool:
        """Hash a file whose size is that of a stored content; a move or a copy costs no upload."""
        sha256, crc32 = hashlib.sha256(), 0
        buffer = self._take_buffer()
        try:
            with opened(file) as descriptor:
                for offset in range(0, file.size, self._pack_size):
                    view = memoryview(buffer)[: min(self._pack_size, file.size - offset)]
                    self._fill(file, descriptor, view, offset)
                    sha256.update(view)
                    crc32 = zlib.crc32(view, crc32)
                    self._go_on()
        finally:
            self._buffers.put(buffer)
        stored = self._stored(sha256.hexdigest())
        if stored is None:
            return False
        self._learn(file, self._judged(file, sha256.hexdigest(), crc32), stored, reused=True)
        return True

    # What both share.

    def _fill(self, file: SnapshotFile, descriptor: int, view: memoryview, offset: int) -> None:
        fill(file, descriptor, view, offset)
        self._recorder.read()

    def _judged(self, file: SnapshotFile, sha256: str, crc32: int) -> Known:
        expected = expected_crc32(file)
        corrupt = expected is not None and expected != crc32
        if corrupt:
            self._check_corrupt(file.path)
        return Known(sha256, None if expected is None else max(expected, 0), corrupt, ())

    def _stored(self, sha256: str) -> tuple[Extent, ...] | None:
        extents = self._index.by_content(sha256)
        return extents if extents and self._packs.confirm(extents) else None

    def _learn(
        self, file: SnapshotFile, known: Known, extents: tuple[Extent, ...], *, reused: bool
    ) -> None:
        complete = Known(known.sha256, known.crc32, known.corrupt, extents)
        self._recorder.learn(file, complete, reused=reused)

    def _put(
        self, buffer: bytearray, body: memoryview, pack: str, done: Callable[[], None]
    ) -> None:
        try:
            self._guarded(self._store, body, pack, done)
        finally:
            body.release()
            self._buffers.put(buffer)

    def _store(self, body: memoryview, pack: str, done: Callable[[], None]) -> None:
        if not self._packs.has(pack, len(body)):
            md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
            self._repository.put_pack(pack, body, md5)
            self._recorder.uploaded(pack, len(body))
        done()
