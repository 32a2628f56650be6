# SPDX-License-Identifier: Apache-2.0
"""A process and its signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.processes import wait_for

_ROOT = Path(__file__).parents[3]


class Launched:
    """The process of ``launched.py``, and what it has told."""

    def __init__(self, directory: Path, flaw: str) -> None:
        self.file = directory / "x.conf"
        self.limit("100")
        self._out = directory / "out"
        argv = [sys.executable, "-m", "tests.unit.cmd.launched", str(self.file), flaw]
        with self._out.open("w") as out:
            self.process = subprocess.Popen(argv, cwd=_ROOT, stdout=out, stderr=subprocess.STDOUT)

    def limit(self, value: str) -> None:
        self.file.write_text(f"[storage]\ndriver = filesystem\nbytes_per_second = {value}\n")

    def told(self) -> str:
        return self._out.read_text()

    def wait(self, text: str) -> None:
        wait_for(lambda: text in self.told(), deadline=30, what=text, interval=0.02)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    launched: list[Launched] = []

    def start(flaw: str = "") -> Launched:
        launched.append(Launched(tmp_path, flaw))
        return launched[-1]

    yield start
    for each in launched:
        each.process.kill()
        each.process.wait()


def events(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.split(" ")[0] in ("first", "second")]


def test_sighup_changes_the_limit_and_survives_a_wrong_file(
    launch: Callable[..., Launched],
) -> None:
    process = launch()
    process.wait("limit 100")
    process.wait("second starts")
    process.limit("200")
    process.signal(signal.SIGHUP)
    process.wait("limit 200")
    process.limit("fast")
    process.signal(signal.SIGHUP)
    process.wait("the configuration stays as it was: bad configuration: [storage] bytes_per_second")
    process.limit("300")
    process.signal(signal.SIGHUP)
    process.wait("limit 300")
    process.signal(signal.SIGTERM)
    assert process.process.wait(30) == 0
    assert events(process.told()) == [
        "first starts",
        "second starts",
        "second stops",
        "first stops",
    ]


def test_a_service_that_cannot_stop_does_not_keep_the_others(
    launch: Callable[..., Launched],
) -> None:
    process = launch("stop")
    process.wait("second starts")
    process.signal(signal.SIGINT)
    assert process.process.wait(30) == 0
    assert events(process.told())[2:] == ["second stops", "first stops"]
    assert "Second did not stop well" in process.told()
    assert "the broker is gone" in process.told()


def test_a_service_that_cannot_start_ends_the_process_in_order(
    launch: Callable[..., Launched],
) -> None:
    process = launch("start")
    assert process.process.wait(30) == 2
    assert events(process.told()) == ["first starts", "first stops"]
    assert "error: the second service cannot start" in process.told()
