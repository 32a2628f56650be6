# SPDX-License-Identifier: Apache-2.0
"""Runs programs of the project as forks of a process that has imported them already.

``fork_server.py SOCKET`` takes requests on a Unix socket until its standard input ends. A request
is one JSON document with the descriptors of standard output and standard error; the answers are
lines: the process ID from the new process itself, and how it ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from ctypes import CDLL
from typing import Any

import magnetodb_backup
import magnetodb_backup.cmd.threading_backend  # before anything imports oslo_messaging

_PR_SET_PDEATHSIG = 1
_LONGEST = 1 << 20
_LATE = ("alembic.command", "rich.live", "rich.progress")  # functions import these when they run


def _import_everything() -> None:
    for module in pkgutil.walk_packages(magnetodb_backup.__path__, "magnetodb_backup."):
        if "migrations" not in module.name and not module.name.endswith(".wsgi"):
            importlib.import_module(module.name)
    for library in _LATE:
        importlib.import_module(library)


def _become(request: dict[str, Any], connection: socket.socket, output: list[int]) -> None:
    """Turn a fork into what the installed script would be."""
    CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if request["session"]:
        os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((null, *output)):
        os.dup2(source, target)
    for descriptor in (null, *output):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = [p for p in request["environment"].get("PYTHONPATH", "").split(":") if p]
    sys.argv = request["argv"]
    connection.sendall(f"{os.getpid()}\n".encode())


def serve(address: str) -> Callable[[], object]:
    """Serve; returns only in a fork, which has to call the result."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ, None)
    waiting.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in waiting.select():
            if key.fd == 0:
                os._exit(0)  # the forks die with this process
            if key.data is not None:
                pid, connection = key.data
                waiting.unregister(key.fd)
                os.close(key.fd)
                _, status, used = os.wait4(pid, 0)
                code = os.waitstatus_to_exitcode(status)
                _answer(connection, f"{code} {used.ru_utime + used.ru_stime}\n")
                connection.close()
                continue
            connection, _ = listener.accept()
            body, output, _, _ = socket.recv_fds(connection, _LONGEST, 2)
            while not body.endswith(b"\n"):
                body += connection.recv(_LONGEST)
            request = json.loads(body)
            pid = os.fork()
            if not pid:
                others = [k for k in waiting.get_map().values() if k.data is not None]
                for other in others:
                    os.close(other.fd)
                    other.data[1].close()
                waiting.close()
                listener.close()
                _become(request, connection, output)
                connection.close()
                module, _, name = request["entry"].partition(":")
                return getattr(sys.modules[module], name)  # type: ignore[no-any-return]
            for descriptor in output:
                os.close(descriptor)
            pidfd = os.pidfd_open(pid)
            waiting.register(pidfd, selectors.EVENT_READ, (pid, connection))


def _answer(connection: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # whoever asked has died
        connection.sendall(text.encode())


if __name__ == "__main__":
    _import_everything()
    gc.collect()
    gc.freeze()
    run = serve(sys.argv[1])
    gc.unfreeze()
    sys.exit(run())  # type: ignore[arg-type]
