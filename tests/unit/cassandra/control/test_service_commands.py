# SPDX-License-Identifier: Apache-2.0
"""The operator's commands: how they are run, and what is said when they fail."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.cassandra.control.service_commands import CassandraProcess, takes_connections
from magnetodb_backup.errors import Cancelled, CommandFailed
from tests.lab.ports import free_port
from tests.lab.processes import wait_for


def never() -> None:
    """Nobody cancels."""


def process(*command: str, port: int = 1, timeout: float = 60.0) -> CassandraProcess:
    return CassandraProcess(
        "127.0.0.1",
        port,
        stop_command=command,
        start_command=command,
        stop_timeout=timeout,
        start_timeout=timeout,
    )


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_what_listens_is_seen(listener: int) -> None:
    assert takes_connections("127.0.0.1", listener)
    assert process(port=listener).serves_clients()
    assert not process(port=free_port("127.0.0.1")).serves_clients()


def test_commands_get_their_arguments_as_they_are(tmp_path: Path) -> None:
    """There is no shell that could take a part of them for its own."""
    path = tmp_path / "told"
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    process(*python(code), str(path), "$(id); `id` *").stop(never)
    assert path.read_text() == "$(id); `id` *"


def test_unset_commands_are_named() -> None:
    first, second = process().problems()
    assert "[cassandra] stop_command is not set" in first
    assert "[cassandra] start_command is not set" in second
    assert process("true").problems() == []
    with pytest.raises(CommandFailed, match=r"stop_command is not set"):
        process().stop(never)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (python("print('no such unit'); raise SystemExit(5)"), "start_command ended with 5.*unit"),
        (("/nowhere/ctl",), r"/nowhere/ctl cannot be run .*correct \[cassandra\] start_command"),
    ],
)
def test_failures_are_told(command: tuple[str, ...], named: str) -> None:
    with pytest.raises(CommandFailed, match=named):
        process(*command).start(never)


def test_command_that_stays_is_killed(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"has not ended after 0\.5 s and was killed"):
        process(*python("import time; time.sleep(600)"), timeout=0.5).start(never)


def test_waiting_can_be_cancelled() -> None:
    def cancelled() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        process(*python("import time; time.sleep(600)")).start(cancelled)


def test_stop_that_has_begun_is_not_cancelled(tmp_path: Path) -> None:
    """Cassandra may be stopping already; to start it again needs the end of that."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"

    def cancelled() -> None:
        if begun.exists():
            raise Cancelled("enough")

    code = (
        "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(1); "
        "pathlib.Path(sys.argv[2]).touch()"
    )
    with pytest.raises(Cancelled):
        process(*python(code), str(begun), str(ended)).stop(cancelled)
    assert ended.exists()


def test_what_a_command_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """A daemon keeps the output open that it inherited."""
    code = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                         stdin=subprocess.PIPE, start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
import os; os._exit(0)
"""
    path = tmp_path / "pid"
    process(*python(code), str(path)).start(never)
    pid = int(path.read_text())
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or _zombie(pid), deadline=30, what="end")


def _zombie(pid: int) -> Any:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
