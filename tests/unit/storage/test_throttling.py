# SPDX-License-Identifier: Apache-2.0
"""The limit of bytes per second."""

from __future__ import annotations

import hashlib
import threading
import time
from itertools import count

import pytest

from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.throttling import Pace, Throttled

BODY = b"z" * 300_000
MD5 = hashlib.md5(BODY).hexdigest()


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def test_rate_holds_over_time() -> None:
    clock = Clock()
    pace = Pace(lambda: 1000, clock=clock, sleep=clock.sleep)
    for _ in range(100):
        pace.wait(100)
    assert clock.now == pytest.approx(9.9, abs=0.2)
    assert max(clock.sleeps) <= 0.1


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    pace = Pace(lambda: 1000, clock=clock, sleep=clock.sleep)
    clock.now = 1000.0
    for _ in range(20):
        pace.wait(100)
    assert clock.now - 1000.0 == pytest.approx(1.8, abs=0.15)


def test_a_large_debt_is_forgiven_when_the_limit_is_lifted() -> None:
    clock, looks = Clock(), count()
    pace = Pace(lambda: 1 if next(looks) < 5 else 0, clock=clock, sleep=clock.sleep)
    pace.wait(10_000)
    pace.wait(10_000)
    assert clock.now < 1


def test_pieces_are_small_at_small_rates() -> None:
    assert Pace(lambda: 100_000).piece(1_000_000) == 10_000
    assert Pace(lambda: 100_000).piece(-1) == 10_000
    assert Pace(lambda: 10).piece(1_000_000) == 1024
    assert Pace(lambda: 0).piece(1_000_000) == 1_000_000
    assert Pace(lambda: 0).piece(-1) == -1


def _seconds(driver: Throttled, operations: list[str]) -> float:
    def work(operation: str) -> None:
        if operation.startswith("put"):
            driver.put("c", operation, memoryview(BODY), size=len(BODY), md5=MD5)
        else:
            assert b"".join(driver.read("c", "o")) == BODY

    threads = [threading.Thread(target=work, args=(operation,)) for operation in operations]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def test_threads_share_the_limit_and_it_changes_at_once() -> None:
    memory = MemoryDriver()
    memory.ensure_container("c")
    memory.put("c", "o", BODY, size=len(BODY), md5=MD5)
    rate = [1_000_000]
    driver = Throttled(memory, lambda: rate[0])
    assert 0.7 < _seconds(driver, ["put1", "put2", "read"]) < 3
    rate[0] = 0
    assert _seconds(driver, ["put1", "put2", "read", "read"]) < 0.4
    assert memory.head("c", "put2") is not None


def test_a_body_can_be_sent_again() -> None:
    class Twice(MemoryDriver):
        def put(self, container, name, body, *, size, md5):  # type: ignore[no-untyped-def]
            body.read(1000)
            super().put(container, name, body, size=size, md5=md5)

    twice = Twice()
    twice.ensure_container("c")
    Throttled(twice, lambda: 10_000_000).put("c", "o", BODY, size=len(BODY), md5=MD5)
    assert b"".join(twice.read("c", "o")) == BODY
