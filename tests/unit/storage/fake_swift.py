# SPDX-License-Identifier: Apache-2.0
"""A tiny object store over HTTP in this process, which misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PASSWORD = "open-sesame-4711"


@dataclass
class Fault:
    """What happens to the next ``times`` requests of ``method``: a status, or a deed."""

    method: str
    status: int = 0
    deed: str = ""
    times: int = 1
    retry_after: str = ""


@dataclass
class FakeSwift:
    """State of the store; ``faults`` are used up in order.

    ``stale`` has, by container and name, what another copy of an object still has: it answers all
    requests but those for the newest copy.
    """

    port: int = 0
    scheme: str = "http"
    page: int = 3
    token: str = "token-1"
    tokens: int = 1
    identity_status: int = 200
    containers: dict[str, dict[str, bytes]] = field(default_factory=dict)
    account: dict[str, str] = field(default_factory=dict)  # headers
    stale: dict[tuple[str, str], bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def auth_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/auth/v1.0"

    @property
    def storage_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1/AUTH_test"

    def expire_token(self) -> None:
        self.tokens += 1
        self.token = f"token-{self.tokens}"

    def count(self, method: str) -> int:
        return sum(1 for found, _ in self.requests if found == method)

    def fault(self, method: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FakeSwift

    def setup(self) -> None:
        super().setup()
        self.store.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        store = self.store
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        store.requests.append((self.command, url.path))
        if url.path.startswith("/auth"):
            self._authenticate()
            return
        fault = store.fault(self.command)
        if fault is not None and fault.deed == "hang":
            store.released.wait(30)
            self.close_connection = True
            return
        if fault is not None and fault.deed == "drop":
            self.close_connection = True
            return
        if fault is not None and fault.status:
            asked = {"Retry_After": fault.retry_after} if fault.retry_after else {}
            self._answer(fault.status, b"told to fail", **asked)
            return
        if self.headers.get("X-Auth-Token") != store.token:
            self._answer(401, b"no such token")
            return
        parts = [unquote(part) for part in url.path.split("/", 4)[3:]]
        deed = fault.deed if fault else ""
        if not parts and self.command == "HEAD":
            self._answer(204, b"", **store.account)
        elif not parts:
            self._listing([{"name": name} for name in sorted(store.containers)])
        elif len(parts) == 1:
            self._container(parts[0])
        else:
            self._object(parts[0], parts[1], body, deed)

    do_GET = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815 (names of http.server)

    def _authenticate(self) -> None:
        if self.store.identity_status != 200:
            self._answer(self.store.identity_status)
        elif self.headers.get("X-Auth-Key") != PASSWORD:
            self._answer(401)
        else:
            self._answer(200, X_Auth_Token=self.store.token, X_Storage_Url=self.store.storage_url)

    def _container(self, container: str) -> None:
        store = self.store
        if self.command == "PUT":
            store.containers.setdefault(container, {})
            self._answer(201)
        elif container not in store.containers:
            self._answer(404)
        elif self.command == "DELETE":
            if store.containers[container]:
                self._answer(409, b"there are objects")
            else:
                del store.containers[container]
                self._answer(204)
        else:
            objects = sorted(store.containers[container].items())
            self._listing([{"name": n, "bytes": len(b), "hash": _md5(b)} for n, b in objects])

    def _listing(self, rows: list[dict[str, Any]]) -> None:
        query = parse_qs(urlsplit(self.path).query)
        marker, prefix = query.get("marker", [""])[0], query.get("prefix", [""])[0]
        if delimiter := query.get("delimiter", [""])[0]:
            rows = _folded(rows, prefix, delimiter)
        asked = [r for r in rows if _key(r) > marker and _key(r).startswith(prefix)]
        text = json.dumps(asked[: self.store.page]).encode()
        self._answer(200, text, Content_Type="application/json")

    def _object(self, container: str, name: str, body: bytes, deed: str) -> None:
        objects = self.store.containers.get(container)
        if self.command == "PUT" and objects is not None:
            if deed == "corrupt":
                body = bytes([body[0] ^ 1]) + body[1:]
            if deed == "lie":
                objects[name] = body
                self._answer(201, ETag="0" * 32)
            elif self.headers.get("ETag") != _md5(body):
                self._answer(422)
            else:
                objects[name] = body
                self._answer(201, ETag=_md5(body))
            return
        if objects is None or name not in objects:
            self._answer(404)
        elif self.command == "DELETE":
            del objects[name]
            self._answer(204)
        else:
            newest = self.headers.get("X-Newest") == "true"
            stale = None if newest else self.store.stale.get((container, name))
            self._content(objects[name] if stale is None else stale, deed)

    def _content(self, content: bytes, deed: str) -> None:
        headers = {"ETag": f'"{_md5(content)}"'}
        wanted, status = content, 200
        asked = self.headers.get("Range")
        if asked and deed != "ignore-range":
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if int(first) >= len(content):
                self._answer(416)
                return
            wanted = content[int(first) : int(last) + 1 if last else None]
            end = int(first) + len(wanted) - 1
            status, headers["Content_Range"] = 206, f"bytes {first}-{end}/{len(content)}"
        headers["Content_Length"] = str(len(wanted))
        if deed == "cut":
            wanted = wanted[: len(wanted) // 2]
            self.close_connection = True
        self._answer(status, wanted, **headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that gives up is what the tests are about."""


def _key(row: dict[str, Any]) -> str:
    return str(row.get("subdir") or row["name"])


def _folded(rows: list[dict[str, Any]], prefix: str, delimiter: str) -> list[dict[str, Any]]:
    """Return the rows with one for all names that are equal up to the delimiter."""
    folded: dict[str, dict[str, Any]] = {}
    for row in rows:
        head, found, _ = row["name"][len(prefix) :].partition(delimiter)
        if row["name"].startswith(prefix) and found:
            folder = f"{prefix}{head}{delimiter}"
            folded[folder] = {"subdir": folder}
        else:
            folded[row["name"]] = row
    return [folded[key] for key in sorted(folded)]


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


@contextmanager
def fake_swift(tls: ssl.SSLContext | None = None) -> Iterator[FakeSwift]:
    """Serve an empty store on a free loopback port, by HTTPS if there is a ``tls`` context."""
    store = FakeSwift(scheme="https" if tls else "http")
    handler = type("Handler", (_Handler,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    store.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        store.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
