# SPDX-License-Identifier: Apache-2.0
"""A decorator that gives any storage driver the ways in which Swift misbehaves."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO

from swiftclient.exceptions import ClientException
from typing_extensions import override

from magnetodb_backup.errors import IncompleteBody, StorageUnavailable
from magnetodb_backup.storage.body import Body
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from magnetodb_backup.storage.swift_errors import from_answer
from tests.lab.emulator.clock import SteppingClock
from tests.lab.emulator.faults import CALM, Faults, Kind, Rule
from tests.lab.emulator.listing import Listings

_WHO = "the emulator's user"
_ACCOUNT = ""  # the container of the containers, in listings


class Killed(BaseException):
    """The process that uses the store was killed: nothing after this line of it is executed."""


class EmulatedStore(StorageDriver):
    """Passes requests to ``driver``, or lets them fail; errors are those of the Swift driver.

    Everything is by ``clock``, which no real time moves. ``faults`` draws from a seed and can be
    replaced at any time; ``add()`` scripts single requests. ``on_request`` is called before each
    request with its method, container and name, and may use the store: so a test interleaves two
    users of a store request by request.
    """

    def __init__(
        self, driver: StorageDriver, clock: SteppingClock | None = None, faults: Faults = CALM
    ) -> None:
        self.driver = driver
        self.clock = clock or SteppingClock()
        self.faults = faults
        self.on_request: Callable[[str, str, str], None] = lambda method, container, name: None
        self.renewals = 0  # of the token
        self.can_renew = True
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._seen: list[tuple[str, str]] = []
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._listings = Listings()
        self._containers: set[str] = set()  # made by way of this decorator
        self._storm_ends, self._storm = 0.0, Rule(Kind.FAIL)
        self._token_since = self.clock.now()
        self._writes_left: int | None = None
        self._dies_after_write = self._dead = False

    # The script.

    def add(self, rule: Rule) -> None:
        """Let something happen to requests that match."""
        with self._lock:
            self._rules.append(rule)

    def storm(self, seconds: float, *, status: int = 503, retry_after: int = 0) -> None:
        """Answer all requests with a status of overload from now on for so long."""
        self._storm_ends = self.clock.now() + seconds
        self._storm = Rule(Kind.FAIL, status=status, retry_after=retry_after)

    def clear(self) -> None:
        """Forget rules, storm and what was seen; let the faults by a seed end."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()
        self._storm_ends, self.faults = 0.0, CALM

    def count(self, *, method: str = "", name_contains: str = "") -> int:
        """Return how many such requests came."""
        with self._lock:
            return sum(method in ("", m) and name_contains in n for m, n in self._seen)

    def lags(self) -> bool:
        """Return whether some listing does not show a change yet."""
        return self._listings.lags(self.clock.now())

    def kill_at(self, write: int, *, stored: bool) -> None:
        """Kill the user of the store at its ``write``-th PUT or DELETE from now on, from 0.

        That write is executed if ``stored``. All later requests raise Killed, until ``revive()``.
        """
        with self._lock:
            self._writes_left, self._dies_after_write = write, stored

    def revive(self) -> bool:
        """Let another process use the store; return whether the former one was killed."""
        with self._lock:
            was_killed, self._dead, self._writes_left = self._dead, False, None
        return was_killed

    # What happens behind the back of the store's user.

    def lose(self, container: str, name: str, *, listed: bool = False) -> None:
        """Remove an object; a ``listed`` one stays in listings for good, as a ghost."""
        info = self.driver.head(container, name)
        self.driver.delete(container, name)
        if listed and info is not None:
            self._listings.haunt(container, info)

    def haunt(self, container: str, info: ObjectInfo) -> None:
        """List an object for good that does not exist."""
        self._listings.haunt(container, info)

    def forget_ghosts(self) -> None:
        """Remove the ghosts from the listings; the lag stays."""
        self._listings.forget_ghosts()

    def change(self, container: str, name: str, change: Callable[[bytes], bytes]) -> None:
        """Replace the bytes of an object."""
        body = change(b"".join(self.driver.read(container, name)))
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.driver.put(container, name, body, size=len(body), md5=md5)

    # The driver.

    @override
    def ensure_container(self, container: str) -> None:
        self._request("PUT", _ACCOUNT, container)
        self.driver.ensure_container(container)
        with self._lock:
            is_new = container not in self._containers
            self._containers.add(container)
        if is_new:
            self._changed(_ACCOUNT, container, None)

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        rules = self._request("LIST", _ACCOUNT, prefix)
        true = (ObjectInfo(name, 0, "") for name in self.driver.containers(prefix))
        yield from (info.name for info in self._listed(_ACCOUNT, prefix, true, rules))

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        what = f"storing {container}/{name}"
        rules = self._request("PUT", container, name)
        dies_here = self._writes(what)
        if Kind.CUT_REQUEST in rules:
            Body(body, size).read(size // 2)
            raise StorageUnavailable(f"{what}: the connection ended after {size // 2} bytes")
        before = self.driver.head(container, name)
        self.driver.put(container, name, body, size=size, md5=md5)
        self._changed(container, name, before)
        self._answered(what, rules, dies_here)

    @override
    def delete(self, container: str, name: str) -> None:
        what = f"deleting {container}/{name}"
        rules = self._request("DELETE", container, name)
        dies_here = self._writes(what)
        before = self.driver.head(container, name)
        if before is not None:
            self.driver.delete(container, name)
            self._changed(container, name, before)
        self._answered(what, rules, dies_here)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        rules = self._request("GET", container, name)
        chunks = self.driver.read(container, name, offset=offset, length=length)
        yield from self._answer(chunks, rules.get(Kind.CUT_ANSWER), f"reading {container}/{name}")

    @override
    def read_newest(self, container: str, name: str, *, offset: int = 0) -> Iterator[bytes]:
        rules = self._request("GET", container, name)
        chunks = self.driver.read_newest(container, name, offset=offset)
        yield from self._answer(chunks, rules.get(Kind.CUT_ANSWER), f"reading {container}/{name}")

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        self._request("HEAD", container, name)
        return self.driver.head(container, name)

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        rules = self._request("LIST", container, prefix)
        true = self.driver.list(container, prefix)
        yield from self._listed(container, prefix, true, rules)

    @override
    def delete_container(self, container: str) -> None:
        what = f"deleting container {container}"
        rules = self._request("DELETE", _ACCOUNT, container)
        dies_here = self._writes(what)
        self.driver.delete_container(container)
        with self._lock:
            is_known = container in self._containers
            self._containers.discard(container)
        if is_known:
            self._changed(_ACCOUNT, container, ObjectInfo(container, 0, ""))
        self._answered(what, rules, dies_here)

    @override
    def close(self) -> None:
        self.driver.close()

    # What happens to a request.

    def _request(self, method: str, container: str, name: str) -> dict[Kind, Rule]:
        """Begin a request; return what is to happen to it later."""
        self.on_request(method, container, name)
        with self._lock:
            if self._dead:
                raise Killed(f"{method} {container}/{name}")
            self._seen.append((method, name))
            attempt = self._attempts[method, name]
            self._attempts[method, name] += 1
            rules = {rule.kind: rule for rule in self._rules if rule.matches(method, name)}
        faults, what = self.faults, f"{method} {container}/{name}"
        for rule in faults.rules(method, name, attempt):
            rules.setdefault(rule.kind, rule)
        self.clock.sleep(faults.latency * faults.draw("latency", method, name, attempt))
        self._check_token(method, what)
        if faults.draw("storm", method, name, attempt) < faults.storms:
            retry_after = faults.storm_seconds if attempt % 2 else 0
            self.storm(faults.storm_seconds, status=503, retry_after=retry_after)
        if self.clock.now() < self._storm_ends:
            raise _failure(self._storm, what)
        if Kind.FAIL in rules:
            raise _failure(rules[Kind.FAIL], what)
        return rules

    def _check_token(self, method: str, what: str) -> None:
        """Renew a token that has expired, as the Swift driver does after the answer 401.

        A store may refuse a token by breaking the connection in the body of a PUT.
        """
        with self._lock:
            if self.clock.now() - self._token_since < self.faults.token_lifetime:
                return
            if not self.can_renew:
                raise _failure(Rule(Kind.FAIL, status=401), what)
            self._token_since = self.clock.now()
            self.renewals += 1
        if method == "PUT":
            raise StorageUnavailable(f"{what}: the connection ended; the token had expired")

    def _writes(self, what: str) -> bool:
        """Count a write; return whether the user dies right after it.

        :raises Killed: if the user dies before it.
        """
        with self._lock:
            if self._dead:
                raise Killed(what)
            if self._writes_left is None:
                return False
            self._writes_left -= 1
            if self._writes_left >= 0:
                return False
            self._dead = True
            if not self._dies_after_write:
                raise Killed(what)
            return True

    def _answered(self, what: str, rules: dict[Kind, Rule], dies_here: bool) -> None:
        if dies_here:
            raise Killed(what)
        if Kind.LOSE_ANSWER in rules:
            raise StorageUnavailable(f"{what}: the connection ended before the answer")

    def _changed(self, container: str, name: str, before: ObjectInfo | None) -> None:
        now, faults = self.clock.now(), self.faults
        due = now + faults.lag * faults.draw("lag", name, self._attempts["PUT", name])
        self._listings.changed(container, name, before, due, now)

    def _listed(
        self,
        container: str,
        prefix: str,
        true: Iterator[ObjectInfo],
        rules: dict[Kind, Rule],
    ) -> Iterator[ObjectInfo]:
        cut = rules.get(Kind.CUT_ANSWER)
        shown = self._listings.shown(container, prefix, true, self.clock.now())
        for number, info in enumerate(shown):
            if cut is not None and number >= cut.after:
                raise StorageUnavailable(f"listing {container}/{prefix}: the connection ended")
            yield info

    def _answer(self, chunks: Iterator[bytes], cut: Rule | None, what: str) -> Iterator[bytes]:
        done = 0
        for chunk in chunks:
            if cut is not None and done + len(chunk) > cut.after:
                if rest := chunk[: cut.after - done]:
                    yield rest
                raise IncompleteBody(f"{what}: the body ended after {cut.after} bytes")
            done += len(chunk)
            yield chunk


def _failure(rule: Rule, what: str) -> Exception:
    """Return the error that the Swift driver makes of an answer."""
    headers = {"Retry-After": str(rule.retry_after)} if rule.retry_after else {}
    answer = ClientException(
        "", http_status=rule.status, http_reason="by the test", http_response_headers=headers
    )
    return from_answer(answer, what, _WHO)
