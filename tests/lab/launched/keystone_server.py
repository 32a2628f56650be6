# SPDX-License-Identifier: Apache-2.0
"""Serves Keystone's WSGI application from threads; started by the lab in Keystone's environment."""

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

configuration, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv = ["keystone"]
os.environ["OS_KEYSTONE_CONFIG_FILES"] = configuration
os.environ["OS_KEYSTONE_CONFIG_DIR"] = os.path.dirname(configuration)

from keystone.server.wsgi import initialize_public_application  # noqa: E402 - reads the above


class Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged: they are many."""


make_server(address, port, initialize_public_application(), Server, Handler).serve_forever()
