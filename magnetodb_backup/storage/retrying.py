# SPDX-License-Identifier: Apache-2.0
"""Repeats requests that fail for a transient reason, with back-off, inside a deadline."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import BinaryIO, TypeVar

import tenacity
from typing_extensions import override

from magnetodb_backup.errors import Transient
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver

_T = TypeVar("_T")
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 20.0
_LONGEST_RETRY_AFTER = 120.0  # seconds; a store that asks for more is asked again earlier


_BACK_OFF = tenacity.wait_exponential(
    multiplier=_FIRST_WAIT, max=_LONGEST_WAIT
) + tenacity.wait_random(0, _FIRST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: the back-off, or longer if the store asked for it."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Transient) else 0.0
    return max(_BACK_OFF(state), min(asked, _LONGEST_RETRY_AFTER))


class Retrying(StorageDriver):
    """A driver around another one: every Transient error is retried for ``deadline`` seconds.

    An interrupted read or listing resumes where it stopped, and each received piece restarts the
    deadline. ``on_retry`` is called with the text of each failure that will be retried; an error
    that it raises ends the operation. A store's Retry-After is waited for, up to 120 seconds and
    within the deadline.
    """

    def __init__(
        self,
        driver: StorageDriver,
        *,
        deadline: float,
        on_retry: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._driver = driver
        self._deadline = deadline
        self._on_retry = on_retry
        self._clock, self._sleep = clock, sleep

    def around(
        self, wrap: Callable[[StorageDriver], StorageDriver], *, before_retry: Callable[[], None]
    ) -> Retrying:
        """Return a copy with what ``wrap`` makes of the driver inside.

        ``before_retry`` is called for each failure that will be retried; an error that it raises
        ends the operation.
        """

        def on_retry(problem: str) -> None:
            before_retry()
            if self._on_retry is not None:
                self._on_retry(problem)

        return Retrying(
            wrap(self._driver),
            deadline=self._deadline,
            on_retry=on_retry,
            clock=self._clock,
            sleep=self._sleep,
        )

    @override
    def ensure_container(self, container: str) -> None:
        self._call(lambda: self._driver.ensure_container(container))

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        last: str | None = None

        def reopen() -> Iterator[str]:
            return (n for n in self._driver.containers(prefix) if last is None or n > last)

        for name in self._pieces(reopen):
            last = name
            yield name

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        self._call(lambda: self._driver.put(container, name, body, size=size, md5=md5))

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        def reopen(done: int) -> Iterator[bytes]:
            rest = None if length is None else length - done
            return self._driver.read(container, name, offset=offset + done, length=rest)

        return self._chunks(reopen)

    @override
    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        return self._chunks(
            lambda done: self._driver.read_newest(container, name, offset=offset + done)
        )

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        return self._call(lambda: self._driver.head(container, name))

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        last: str | None = None

        def reopen() -> Iterator[ObjectInfo]:
            listing = self._driver.list(container, prefix)
            return (info for info in listing if last is None or info.name > last)

        for info in self._pieces(reopen):
            last = info.name
            yield info

    @override
    def folders(self, container: str, prefix: str) -> Iterator[str]:
        last: str | None = None

        def reopen() -> Iterator[str]:
            found = self._driver.folders(container, prefix)
            return (folder for folder in found if last is None or folder > last)

        for folder in self._pieces(reopen):
            last = folder
            yield folder

    @override
    def delete(self, container: str, name: str) -> None:
        self._call(lambda: self._driver.delete(container, name))

    @override
    def delete_container(self, container: str) -> None:
        self._call(lambda: self._driver.delete_container(container))

    @override
    def as_of(self, moment: datetime) -> StorageDriver:
        view = copy.copy(self)
        view._driver = self._driver.as_of(moment)
        return view

    @override
    def quota(self) -> int | None:
        return self._call(self._driver.quota)

    @override
    def close(self) -> None:
        self._driver.close()

    def _chunks(self, reopen: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
        """Yield the chunks of ``reopen(0)``; after a failure, of a read that begins further on."""
        done = 0

        def rest() -> Iterator[bytes]:
            return reopen(done)

        for chunk in self._pieces(rest):
            done += len(chunk)
            yield chunk

    def _pieces(self, reopen: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        """Yield the pieces of ``reopen()``; call it again after a transient failure."""
        source: Iterator[_T] | None = None

        def step() -> tuple[_T] | None:
            nonlocal source
            if source is None:
                source = reopen()
            try:
                return (next(source),)
            except StopIteration:
                return None
            except Transient:
                source = None
                raise

        while (piece := self._call(step)) is not None:
            yield piece[0]

    def _call(self, action: Callable[[], _T]) -> _T:
        started = self._clock()
        try:
            return action()  # most calls succeed at once, without tenacity
        except Transient as error:
            if self._deadline <= 0:
                raise
            first = error
        return self._repeat(action, first, started)

    def _repeat(self, action: Callable[[], _T], first: Transient, started: float) -> _T:
        pending: list[Transient] = [first]

        def once_more() -> _T:
            if pending:
                raise pending.pop()  # the attempt already made counts as the first
            return action()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            wait=_wait,
            stop=lambda _: self._clock() - started >= self._deadline,
            before_sleep=self._before_sleep,
            sleep=self._sleep_within(started),
            reraise=True,
        )
        try:
            return retrying(once_more)
        except Transient as error:
            tried = self._clock() - started
            attempts = retrying.statistics.get("attempt_number", 1)
            raise type(error)(f"{error} (tried {attempts} times in {tried:.0f} s)") from error

    def _sleep_within(self, started: float) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            # The last wait ends with the deadline, so that the last try is made at its very end.
            rest = started + self._deadline - self._clock()
            self._sleep(max(0.0, min(seconds, rest)))

        return sleep

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        if self._on_retry is not None and state.outcome is not None:
            self._on_retry(str(state.outcome.exception()))
