# SPDX-License-Identifier: Apache-2.0
"""A Jolokia agent in this process that records requests and answers as it is told."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeAgent:
    """What the agent answers next: ``body`` with the HTTP ``status``; a deed misbehaves.

    The values of ``first`` are answered before it, one by one.
    """

    port: int = 0
    scheme: str = "http"
    body: bytes = b'{"status": 200, "value": null}'
    status: int = 200
    deed: str = ""
    slow: str = ""  # the operation that ends when ``released`` is set
    first: list[object] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/jolokia"

    def value(self, value: object) -> None:
        """Answer with a result."""
        self.body = json.dumps({"status": 200, "value": value}).encode()

    def error(self, status: int, text: str, kind: str = "java.lang.Exception") -> None:
        """Answer with an error, as Jolokia does: inside HTTP 200."""
        document = {"status": status, "error": text, "error_type": kind, "stacktrace": "at x"}
        self.body = json.dumps(document).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    agent: FakeAgent

    def setup(self) -> None:
        super().setup()
        self.agent.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        agent = self.agent
        body = self.rfile.read(int(self.headers["Content-Length"]))
        agent.requests.append(json.loads(body))
        agent.authorizations.append(self.headers.get("Authorization"))
        agent.paths.append(self.path)
        if agent.deed == "silence":
            agent.released.wait(30)
        if agent.slow and agent.slow in agent.requests[-1].get("operation", ""):
            agent.released.wait(30)
        if agent.deed in ("hang up", "silence"):
            self.close_connection = True
            return
        self.send_response(agent.status)
        answer = agent.body
        if agent.first:
            answer = json.dumps({"status": 200, "value": agent.first.pop(0)}).encode()
        announced = len(answer) + (10 if agent.deed == "cut" else 0)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = agent.deed == "cut"


@contextmanager
def fake_agent(context: ssl.SSLContext | None = None) -> Iterator[FakeAgent]:
    """Serve on a port of 127.0.0.1, over TLS if there is a context."""
    agent = FakeAgent()
    handler = type("Handler", (_Handler,), {"agent": agent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context is not None:
        agent.scheme = "https"
        server.socket = context.wrap_socket(server.socket, server_side=True)
    agent.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        agent.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
