# SPDX-License-Identifier: Apache-2.0
"""Measures tests: their time, the processor time of all their processes, what they start.

A pytest plugin. It prints the totals and the most expensive tests and fixtures at the end of a run,
and writes every figure to the file that ``--measured FILE`` names.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

_SHOWN = 20
_TICKS = os.sysconf("SC_CLK_TCK")
_VARIABLE = "MAGNETODB_BACKUP_STARTS"
_SHORT_RUN = 60.0  # seconds; nothing is shown after less
_LEAST = 0.5  # seconds; cheaper fixtures are not worth a line

_starts: Counter[str] = Counter()
_living: set[int] = set()  # processes of ours that nobody has waited for
_elsewhere = [0.0]  # processor seconds of ended processes that another one has waited for


def count_start(kind: str, pid: int | None = None) -> None:
    """Count a process that starts; with its ID, what it uses is seen while it runs."""
    _starts[kind] += 1
    if pid is not None:
        _living.add(pid)


def _counted_by_others() -> Counter[str]:
    """Return what launched/counted.sh has noted: starts by processes that tests started."""
    file = os.environ.get(_VARIABLE)
    return Counter(Path(file).read_text().split() if file and Path(file).exists() else ())


def count_end(pid: int, processor_seconds: float = 0.0) -> None:
    """Note an end; with its processor time, if this process has not waited for it."""
    _living.discard(pid)
    _elsewhere[0] += processor_seconds


def _of_process(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _processor_seconds() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    waited = sum(u.ru_utime + u.ru_stime for u in used)
    return waited + _elsewhere[0] + sum(_of_process(pid) for pid in tuple(_living))


class _Mark:
    """What had been used at a moment."""

    def __init__(self) -> None:
        self.time, self.processor = time.monotonic(), _processor_seconds()
        self.starts = _starts + _counted_by_others()

    def since(self) -> dict[str, Any]:
        return {
            "seconds": time.monotonic() - self.time,
            "processor": _processor_seconds() - self.processor,
            "starts": dict(_starts + _counted_by_others() - self.starts),
        }


class Measuring:
    """Attaches figures to each report where tests run, and gathers them where they are shown."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._mark = _Mark()
        self._fixtures: list[tuple[str, dict[str, Any]]] = []
        self.tests: dict[str, dict[str, Any]] = {}
        self.fixtures: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        mark = _Mark() if fixturedef.scope != "function" else None
        result = yield
        if mark is not None:
            measured = mark.since()
            if measured["seconds"] > _LEAST:
                self._fixtures.append((f"{fixturedef.baseid}::{fixturedef.argname}", measured))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, Any]:
        report: Any = yield
        if call.when == "setup":
            self._mark.time = min(call.start - time.time() + time.monotonic(), time.monotonic())
        report.measured = {**self._mark.since(), "fixtures": self._fixtures}
        self._mark, self._fixtures = _Mark(), []
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        measured = getattr(report, "measured", None)
        if measured is None:
            return
        node = getattr(report, "node", None)
        test = self.tests.setdefault(
            report.nodeid,
            {
                "process": node.gateway.id if node else "",
                "seconds": 0.0,
                "processor": 0.0,
                "starts": {},
            },
        )
        _add(test, measured)
        for name, cost in measured["fixtures"]:
            found = self.fixtures.setdefault(name, {"seconds": 0.0, "processor": 0.0, "starts": {}})
            _add(found, cost)
        if self._file and report.when == "teardown":
            self._write()

    def _write(self) -> None:
        assert self._file
        figures = {"tests": self.tests, "fixtures": self.fixtures}
        Path(self._file).write_text(json.dumps(figures, indent=1))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._file and sum(t["seconds"] for t in self.tests.values()) < _SHORT_RUN:
            return
        write = terminalreporter.write_line
        terminalreporter.section("time, processor time and process starts")
        for title, costs in (
            ("processes of pytest", _grouped(self.tests, lambda _, test: test["process"] or "one")),
            ("most expensive files", _grouped(self.tests, lambda name, _: name.split("::")[0])),
            ("most expensive fixtures, each within a test", self.fixtures),
            ("most expensive tests", self.tests),
        ):
            write(f"{title}:")
            for name, cost in sorted(costs.items(), key=lambda c: -c[1]["seconds"])[:_SHOWN]:
                write(f"  {_line(cost)}  {name}")


def _add(total: dict[str, Any], cost: dict[str, Any]) -> None:
    total["seconds"] += cost["seconds"]
    total["processor"] += cost["processor"]
    total["starts"] = dict(Counter(total["starts"]) + Counter(cost["starts"]))


def _grouped(tests: dict[str, dict[str, Any]], key: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, test in tests.items():
        _add(
            found.setdefault(key(name, test), {"seconds": 0.0, "processor": 0.0, "starts": {}}),
            test,
        )
    return found


def _line(cost: dict[str, Any]) -> str:
    starts = " ".join(f"{kind}:{count}" for kind, count in sorted(cost["starts"].items()))
    return f"{cost['seconds']:7.1f} s {cost['processor']:7.1f} CPU s  [{starts}]"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--measured", metavar="FILE", help="write what each test cost to a JSON file")


def pytest_configure(config: pytest.Config) -> None:
    descriptor, os.environ[_VARIABLE] = tempfile.mkstemp(prefix="magnetodb-backup-starts-")
    os.close(descriptor)
    config.pluginmanager.register(Measuring(config.getoption("measured")), "measuring-of-costs")


def pytest_unconfigure() -> None:
    if (file := os.environ.pop(_VARIABLE, None)) is not None:
        Path(file).unlink(missing_ok=True)
