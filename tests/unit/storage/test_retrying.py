# SPDX-License-Identifier: Apache-2.0
"""Repetition with back-off inside a deadline."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    Cancelled,
    IncompleteBody,
    StorageUnavailable,
)
from magnetodb_backup.storage.driver import ObjectInfo
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.retrying import Retrying

BODY = bytes(range(256)) * 1000


class Flaky(MemoryDriver):
    """Fails as often as told before each kind of operation, and cuts reads and listings."""

    def __init__(self, failures: int = 0, error: Callable[[str], BackupError] = StorageUnavailable):
        super().__init__()
        self.failures = failures
        self.error = error
        self.cut_after: int | None = None
        self.offsets: list[int] = []
        self.newest = 0
        super().ensure_container("c")

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error("out of order")

    def put(self, container: str, name: str, body: Any, *, size: int, md5: str) -> None:
        if self.failures and hasattr(body, "read"):
            body.read(100)
        self._fail()
        super().put(container, name, body, size=size, md5=md5)

    def head(self, container: str, name: str) -> ObjectInfo | None:
        self._fail()
        return super().head(container, name)

    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        self.offsets.append(offset)
        self._fail()
        for number, chunk in enumerate(
            super().read(container, name, offset=offset, length=length), 1
        ):
            yield chunk
            if number == self.cut_after:
                raise IncompleteBody("cut")

    def containers(self, prefix: str) -> Iterator[str]:
        self._fail()
        for number, name in enumerate(super().containers(prefix), 1):
            yield name
            if number == self.cut_after:
                self.cut_after += 2
                raise StorageUnavailable("cut")

    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        self.newest += 1
        return self.read(container, name, offset=offset)

    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        self._fail()
        for number, info in enumerate(super().list(container, prefix), 1):
            yield info
            if number == self.cut_after:
                self.cut_after += 2
                raise StorageUnavailable("cut")


def _put(driver: Any, name: str = "o", body: bytes = BODY) -> None:
    driver.put("c", name, io.BytesIO(body), size=len(body), md5=hashlib.md5(body).hexdigest())


def test_passing_failures_are_retried_with_growing_waits() -> None:
    waits: list[float] = []
    told: list[str] = []
    flaky = Flaky(5)
    retrying = Retrying(flaky, deadline=100, on_retry=told.append, sleep=waits.append)
    _put(retrying)
    assert b"".join(flaky.read("c", "o")) == BODY
    assert told == ["out of order"] * 5
    assert [n for n in range(5) if 0.25 * 2**n <= waits[n] <= 0.25 * 2**n + 0.25] == [0, 1, 2, 3, 4]


def test_lasting_failures_are_not_retried() -> None:
    flaky = Flaky(1, AccessDenied)
    with pytest.raises(AccessDenied):
        _put(Retrying(flaky, deadline=100))
    assert flaky.failures == 0


def test_deadline_ends_it_and_the_last_error_tells_how_long() -> None:
    flaky = Flaky(10**9)
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match=r"out of order \(tried \d+ times in 1 s\)"):
        Retrying(flaky, deadline=1).head("c", "o")
    assert 0.9 < time.monotonic() - started < 3
    assert 3 <= 10**9 - flaky.failures <= 6


def test_no_deadline_tries_once() -> None:
    flaky = Flaky(10)
    with pytest.raises(StorageUnavailable, match=r"^out of order$"):
        Retrying(flaky, deadline=0).head("c", "o")
    assert flaky.failures == 9


def test_read_goes_on_where_it_was_cut() -> None:
    flaky = Flaky()
    _put(flaky)
    flaky.cut_after = 1
    retrying = Retrying(flaky, deadline=100, sleep=lambda _: None)
    assert b"".join(retrying.read("c", "o", offset=1000, length=200_000)) == BODY[1000:201_000]
    assert flaky.offsets == [1000, 66_536, 132_072, 197_608, 201_000]


def test_read_without_progress_ends_with_the_deadline() -> None:
    flaky = Flaky()
    _put(flaky)
    flaky.failures = 10**9
    with pytest.raises(StorageUnavailable, match="tried"):
        list(Retrying(flaky, deadline=0.5).read("c", "o"))


def test_each_piece_starts_the_deadline_anew() -> None:
    flaky = Flaky()
    _put(flaky)
    flaky.cut_after = 1
    retrying = Retrying(flaky, deadline=0.5)
    found = b""
    started = time.monotonic()
    for chunk in retrying.read("c", "o"):
        found += chunk
    assert found == BODY
    assert time.monotonic() - started > 0.5


def test_listing_goes_on_without_repeating() -> None:
    flaky = Flaky()
    for number in range(9):
        _put(flaky, f"o{number}", b"x")
    flaky.cut_after = 2
    retrying = Retrying(flaky, deadline=100, sleep=lambda _: None)
    assert [info.name for info in retrying.list("c")] == [f"o{n}" for n in range(9)]


def test_listing_of_folders_goes_on_without_repeating() -> None:
    flaky = Flaky()
    for number in range(9):
        _put(flaky, f"f{number}/o", b"x")
    flaky.cut_after = 2
    retrying = Retrying(flaky, deadline=100, sleep=lambda _: None)
    assert list(retrying.folders("c", "f")) == [f"f{n}/" for n in range(9)]


def test_read_of_the_newest_goes_on_where_it_was_cut() -> None:
    flaky = Flaky()
    _put(flaky)
    flaky.cut_after = 1
    retrying = Retrying(flaky, deadline=100, sleep=lambda _: None)
    assert b"".join(retrying.read_newest("c", "o")) == BODY
    assert flaky.offsets == sorted(set(flaky.offsets))
    assert flaky.newest == len(flaky.offsets) > 1


def test_listing_of_containers_goes_on_without_repeating() -> None:
    waits: list[float] = []
    flaky = Flaky(1)
    for number in range(9):
        flaky.ensure_container(f"c{number}")
    flaky.cut_after = 2
    retrying = Retrying(flaky, deadline=100, sleep=waits.append)
    assert list(retrying.containers("c")) == ["c", *(f"c{n}" for n in range(9))]
    assert len(waits) > 1


def test_the_one_who_is_told_may_end_it() -> None:
    def stop(message: str) -> None:
        raise Cancelled(message)

    with pytest.raises(Cancelled, match="out of order"):
        Retrying(Flaky(10), deadline=100, on_retry=stop).head("c", "o")


def test_slow_failures_count_towards_the_deadline() -> None:
    class Slow(Flaky):
        def head(self, container: str, name: str) -> ObjectInfo | None:
            time.sleep(0.5)
            return super().head(container, name)

    flaky = Slow(10**9)
    with pytest.raises(StorageUnavailable, match="tried 1 times"):
        Retrying(flaky, deadline=0.4).head("c", "o")
    assert flaky.failures == 10**9 - 1
