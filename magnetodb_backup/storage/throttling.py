# SPDX-License-Identifier: Apache-2.0
"""Limits the bytes per second sent to and fetched from the store."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import BinaryIO, cast

from typing_extensions import override

from magnetodb_backup.storage.body import Body
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.forwarding import Forwarding

# The rate is read again at least this often (seconds), so that a change takes effect soon.
_GLANCE = 0.1
# Seconds' worth of bytes that may be sent at once after a pause.
_BURST = 0.1
_SMALLEST_PIECE = 1024


class Pace:
    """A token bucket for all threads; ``rate()`` returns bytes per second, 0 or less for no limit.

    A piece may overdraw the bucket; the next piece waits until the bucket is filled again.
    """

    def __init__(
        self,
        rate: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._filled_at = clock()

    def piece(self, amount: int) -> int:
        """Return how many of ``amount`` bytes to send at once for an even flow."""
        rate = self._rate()
        if rate <= 0:
            return amount
        largest = max(_SMALLEST_PIECE, int(rate * _BURST))
        return largest if amount < 0 else min(amount, largest)

    def wait(self, amount: int) -> None:
        """Block until ``amount`` more bytes may be sent."""
        while (delay := self._take(amount)) > 0:
            self._sleep(min(delay, _GLANCE))

    def _take(self, amount: int) -> float:
        rate = self._rate()
        with self._lock:
            now = self._clock()
            if rate <= 0:
                self._tokens, self._filled_at = 0.0, now
                return 0.0
            gained = (now - self._filled_at) * rate
            self._tokens = min(self._tokens + gained, rate * _BURST)
            self._filled_at = now
            if self._tokens <= -1:  # less than a byte is a rounding error
                return -self._tokens / rate
            self._tokens -= amount
            return 0.0


class _PacedBody:
    """The file that the inner driver reads: each read waits for the pace."""

    def __init__(self, body: Body, pace: Pace) -> None:
        self._body = body
        self._pace = pace

    def tell(self) -> int:
        return self._body.tell()

    def seek(self, position: int, whence: int = 0) -> int:
        return self._body.seek(position, whence)

    def read(self, amount: int = -1) -> bytes | memoryview:
        piece = self._body.read(self._pace.piece(amount))
        if piece:
            self._pace.wait(len(piece))
        return piece


class Throttled(Forwarding):
    """A driver around another one that limits all bodies, sent and received, to ``rate()``.

    ``rate`` is called for each piece: bytes per second, 0 for no limit.
    """

    def __init__(self, driver: StorageDriver, rate: Callable[[], int]) -> None:
        super().__init__(driver)
        self._pace = Pace(rate)

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        paced = cast(BinaryIO, _PacedBody(Body(body, size), self._pace))
        self._driver.put(container, name, paced, size=size, md5=md5)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        for chunk in self._driver.read(container, name, offset=offset, length=length):
            self._pace.wait(len(chunk))
            yield chunk

    @override
    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        for chunk in self._driver.read_newest(container, name, offset=offset):
            self._pace.wait(len(chunk))
            yield chunk

    @override
    def as_of(self, moment: datetime) -> StorageDriver:
        view = copy.copy(self)  # with the same pace
        view._driver = self._driver.as_of(moment)
        return view
