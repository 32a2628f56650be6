# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy in front of Swift that fails, cuts, corrupts, slows and holds on request."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BLOCK = 64 * 1024
_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Rule:
    """What happens to the next ``times`` requests that match; -1 for all."""

    kind: str
    method: str
    path_contains: str
    times: int = -1
    status: int = 0
    after_bytes: int = 0
    bytes_per_second: int = 0
    when: Callable[[], bool] = lambda: True
    held: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def matches(self, method: str, path: str) -> bool:
        meant = self.method in ("", method) and self.path_contains in path
        return self.times != 0 and meant and self.when()


class Cut(Exception):
    """The connection ends here."""


class FaultProxy:
    """Listens on ``address``; forwards to ``upstream`` (host, port)."""

    def __init__(self, address: str, upstream: tuple[str, int]) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._seen: list[tuple[str, str]] = []
        self._held = 0
        self._bodies = self._answers = 0
        proxy = self

        class Handler(_Handler):
            pass

        Handler.proxy, Handler.upstream_address = proxy, upstream
        self._server = _Server((address, 0), Handler)
        self.address, self.port = address, int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self.clear()
        self._server.shutdown()
        self._server.server_close()

    # what tests ask for

    def fail(
        self, *, method: str = "", path_contains: str = "", status: int, times: int = -1
    ) -> None:
        """Answer ``status`` without asking Swift."""
        self._add(Rule("fail", method, path_contains, times, status=status))

    def cut_response(
        self, *, method: str = "", path_contains: str = "", after_bytes: int, times: int = -1
    ) -> None:
        """Close the connection after so many bytes of the answer's body."""
        self._add(Rule("cut_response", method, path_contains, times, after_bytes=after_bytes))

    def cut_request(self, *, method: str = "", path_contains: str = "", times: int = -1) -> None:
        """Close both connections in the middle of the request's body."""
        self._add(Rule("cut_request", method, path_contains, times))

    def corrupt(self, *, method: str = "", path_contains: str = "", times: int = -1) -> None:
        """Flip a bit of the body: of the request for PUT, of the answer for GET."""
        self._add(Rule("corrupt", method, path_contains, times))

    def hang(
        self,
        *,
        method: str = "",
        path_contains: str = "",
        times: int = -1,
        when: Callable[[], bool] = lambda: True,
    ) -> Rule:
        """Keep requests waiting until :meth:`clear` or :meth:`release`, which let them through.

        ``when`` is asked at each request whether it is meant.
        """
        rule = Rule("hang", method, path_contains, times, when=when)
        self._add(rule)
        return rule

    def throttle(self, bytes_per_second: int, *, method: str = "", path_contains: str = "") -> None:
        """Pass the requests' bodies on at this pace."""
        self._add(Rule("throttle", method, path_contains, bytes_per_second=bytes_per_second))

    def release(self, rule: Rule) -> None:
        """Forget one rule and let through what it holds."""
        with self._lock:
            rule.released.set()
            self._rules = [r for r in self._rules if r is not rule]

    def clear(self) -> None:
        """Forget all rules and what was seen; release what is held."""
        with self._lock:
            for rule in self._rules:
                rule.released.set()
            self._rules.clear()
            self._seen.clear()
            self._bodies = self._answers = 0

    def count(self, *, method: str = "", path_contains: str = "") -> int:
        """Return how many such requests came."""
        with self._lock:
            return sum(method in ("", seen) and path_contains in path for seen, path in self._seen)

    @property
    def held(self) -> int:
        """How many requests wait at :meth:`hang` now."""
        return self._held

    @property
    def sent(self) -> int:
        """Bytes of request bodies that were passed on to Swift."""
        return self._bodies

    @property
    def received(self) -> int:
        """Bytes of packs that Swift gave and that were passed on."""
        return self._answers

    # what the handler asks for

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _arrived(self, method: str, path: str) -> list[Rule]:
        with self._lock:
            self._seen.append((method, path))
            matching = [rule for rule in self._rules if rule.matches(method, path)]
            for rule in matching:
                rule.times -= rule.times > 0
            return matching

    @contextlib.contextmanager
    def _holding(self, rule: Rule) -> Iterator[None]:
        with self._lock:
            self._held += 1
            rule.held += 1
        yield
        with self._lock:
            self._held -= 1
            rule.held -= 1

    def _passed(self, size: int) -> None:
        with self._lock:
            self._bodies += size

    def _passed_back(self, size: int) -> None:
        with self._lock:
            self._answers += size


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are what this proxy is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True
    proxy: FaultProxy
    upstream_address: tuple[str, int]
    _upstream: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: object) -> None:
        """The tests look at the requests themselves."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except Cut:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.close_connection = True

    def _forward(self) -> None:
        rules = {rule.kind: rule for rule in self.proxy._arrived(self.command, self.path)}
        if held := rules.get("hang"):
            with self.proxy._holding(held):
                held.released.wait(300)
            if self.command == "GET" and self._is_gone():
                raise Cut
        if failing := rules.get("fail"):
            for _ in self._request_body():
                pass
            self._answer(failing.status, f"{failing.status} by the test\n".encode())
            return
        try:
            answer = self._exchange(rules)
            self._pass_back(answer, rules)
        finally:
            # Swift closes idle connections; one met again would fail a request that no test wants.
            self._close_upstream()

    def _is_gone(self) -> bool:
        """Tell if who asked has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _close_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer ``do_GET`` and the like, all alike."""
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def _exchange(self, rules: dict[str, Rule]) -> http.client.HTTPResponse:
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection(*self.upstream_address, timeout=120)
        upstream, chunked = self._upstream, "Transfer-Encoding" in self.headers
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            size = int(self.headers.get("Content-Length") or 0)
            passed, pace = 0, self._pace(rules.get("throttle"))
            for block in self._request_body():
                if "corrupt" in rules and self.command == "PUT" and not passed:
                    block = bytes([block[0] ^ 1]) + block[1:]
                if "cut_request" in rules and passed + len(block) > size // 2:
                    upstream.close()
                    raise Cut
                upstream.send(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
                passed += len(block)
                self.proxy._passed(len(block))
                pace(len(block))
            if chunked:
                upstream.send(b"0\r\n\r\n")
            return upstream.getresponse()
        except (OSError, http.client.HTTPException):
            upstream.close()
            self._upstream = None
            raise Cut from None

    def _pace(self, rule: Rule | None) -> Callable[[int], None]:
        started, total = time.monotonic(), 0

        def wait(size: int) -> None:
            nonlocal total
            total += size
            if rule is not None:
                ahead = total / rule.bytes_per_second - (time.monotonic() - started)
                rule.released.wait(max(0.0, ahead))

        return wait

    def _request_body(self) -> Iterator[bytes]:
        if "Transfer-Encoding" in self.headers:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            block = self.rfile.read(min(_BLOCK, left))
            if not block:
                raise Cut
            left -= len(block)
            yield block

    def _pass_back(self, answer: http.client.HTTPResponse, rules: dict[str, Rule]) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        chunked = answer.getheader("Content-Length") is None and answer.status not in (204, 304)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            answer.read()
            return
        sent, cut = 0, rules.get("cut_response")
        while block := answer.read(_BLOCK):
            if "corrupt" in rules and self.command == "GET" and not sent:
                block = bytes([block[0] ^ 1]) + block[1:]
            if cut is not None and sent + len(block) > cut.after_bytes:
                self.wfile.write(block[: cut.after_bytes - sent])
                self.wfile.flush()
                raise Cut
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
            sent += len(block)
            if "/packs/" in self.path:
                self.proxy._passed_back(len(block))
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
