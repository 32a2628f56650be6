# SPDX-License-Identifier: Apache-2.0
"""Tells what an upload cost, on the uploader's side and on Swift's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.swift import Swift

_LAUNCHER = Path(__file__).with_name("launch.py")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Times in seconds, memory in bytes; ``requests`` are those that Swift's proxy logged."""

    seconds: float
    cpu: float
    swift_cpu: float
    peak_memory: int
    requests: int


class CommandFailed(RuntimeError):
    """A measured command failed; the text is its output."""


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _requests(swift: Swift) -> int:
    with swift.processes[-1].log.open("rb") as log:
        return sum(1 for line in log if line.startswith(b"proxy-server: "))


def _measured(swift: Swift, action: Callable[[], Mapping[str, Any]]) -> Cost:
    """Time ``action``, which returns the uploader's own ``cpu`` and ``peak_memory``."""
    requests, cpu = _requests(swift), sum(_cpu_of(p.pid) for p in swift.processes)
    started = time.monotonic()
    usage = action()
    seconds = time.monotonic() - started
    return Cost(
        seconds=seconds,
        cpu=usage["cpu"],
        swift_cpu=sum(_cpu_of(p.pid) for p in swift.processes) - cpu,
        peak_memory=usage["peak_memory"],
        requests=_requests(swift) - requests,
    )


def measure_command(swift: Swift, command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run ``command`` to its end; nothing else must use ``swift`` meanwhile.

    :raises CommandFailed: if it does not end with 0.
    """

    def action() -> Mapping[str, Any]:
        result = subprocess.run(
            [sys.executable, "-S", str(_LAUNCHER), *command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        usage: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        if usage["code"]:
            raise CommandFailed(f"{command[0]} ended with {usage['code']}:\n{result.stderr}")
        return usage

    return _measured(swift, action)


def measure_resident(swift: Swift, command: Sequence[str]) -> Cost:
    """Start ``command``, wait until it says that it is ready, and time it until it has an answer.

    For what is a daemon in real life: its start and its end are not part of the work.

    :raises CommandFailed: if it does not end with 0.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    given, written = process.stdin, process.stdout
    assert given is not None
    assert written is not None
    ready = written.readline()

    usage = ""

    def action() -> Mapping[str, Any]:
        nonlocal usage
        given.write("go\n")
        given.flush()
        usage = written.readline()
        return json.loads(usage) if usage else {"cpu": 0.0, "peak_memory": 0}

    cost = _measured(swift, action)
    _, err = process.communicate()
    if process.returncode or not usage or ready != "ready\n":
        raise CommandFailed(f"{command[0]} ended with {process.returncode}:\n{err}")
    return cost
