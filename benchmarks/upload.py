# SPDX-License-Identifier: Apache-2.0
"""One node's upload against ``swift upload`` of the same files to the same Swift.

Usage: python -m benchmarks.upload [--rounds N] [--scale F] [--record DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.data import DataSet, data_sets
from benchmarks.measuring import Cost, measure_command, measure_resident
from benchmarks.records import add_record, circumstances
from tests.lab.deployment import write_configuration
from tests.lab.ports import LoopbackBlock
from tests.lab.swift import Swift

_BIN = Path(sys.executable).parent
_USER, _KEY = "test:tester", "testing"
OURS, THEIRS = "magnetodb-backup", "swift upload"
FIRST, AGAIN = "first", "unchanged"


class Bench:
    """One Swift, and what uploads to it."""

    def __init__(self, swift: Swift, directory: Path, scale: float) -> None:
        self._swift, self._directory, self._scale = swift, directory, scale
        self.config = write_configuration(
            directory / "magnetodb-backup.conf",
            {
                "DEFAULT": {"state_dir": directory},
                "storage": {"driver": "swift"},
                "swift": {
                    "auth_type": "v1password",
                    "auth_url": swift.auth_v1_url,
                    "username": _USER,
                    "password": _KEY,
                },
            },
        )

    def ours(self, data: DataSet, place: Path, number: int) -> Cost:
        """Upload by this project; return the cost."""
        state = self._directory / f"state-{data.name}-{number}"
        state.mkdir(exist_ok=True)
        module = [sys.executable, "-m", "benchmarks.node_upload"]
        arguments = [str(self.config), str(place), data.name, str(state), str(self._scale)]
        return measure_resident(self._swift, [*module, *arguments])

    def theirs(self, data: DataSet, place: Path, number: int, *, changed: bool) -> Cost:
        """Upload by ``swift upload``; return the cost."""
        # The tool's own defaults; --changed is its way to leave out what is there.
        command = [str(_BIN / "swift"), "upload", *(["--changed"] if changed else [])]
        environment = {
            "ST_AUTH_VERSION": "1",
            "ST_AUTH": self._swift.auth_v1_url,
            "ST_USER": _USER,
            "ST_KEY": _KEY,
        }
        container = f"theirs-{data.name}-{number}"
        return measure_command(self._swift, [*command, container, str(place)], environment)


def run_set(
    bench: Bench, data: DataSet, place: Path, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Upload a set ``rounds`` times by both in turn, each time to fresh containers, then again."""
    files, size = data.write(place)
    costs: dict[str, dict[str, list[Cost]]] = {k: {OURS: [], THEIRS: []} for k in (FIRST, AGAIN)}
    for number in range(rounds):
        for kind in (FIRST, AGAIN):
            theirs = bench.theirs(data, place, number, changed=kind == AGAIN)
            ours = bench.ours(data, place, number)
            costs[kind][THEIRS].append(theirs)
            costs[kind][OURS].append(ours)
            say(
                f"{data.title}, {kind}, round {number + 1} of {rounds}: "
                f"{THEIRS} {theirs.seconds:.1f} s, {OURS} {ours.seconds:.1f} s"
            )
    return {
        "name": data.name,
        "title": data.title,
        "files": files,
        "bytes": size,
        "uploads": {kind: _summary(both) for kind, both in costs.items()},
    }


def _summary(both: dict[str, list[Cost]]) -> dict[str, Any]:
    ratios = [
        theirs.seconds / ours.seconds for theirs, ours in zip(both[THEIRS], both[OURS], strict=True)
    ]
    medians = {
        name: {
            field: statistics.median(asdict(cost)[field] for cost in costs)
            for field in asdict(costs[0])
        }
        for name, costs in both.items()
    }
    return {
        "median": medians,
        "times_faster": {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        },
    }


def run(rounds: int, scale: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Start Swift, run all sets, and return the record of the run."""
    begun = circumstances(rounds)
    block = LoopbackBlock()
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        directory = Path(name)
        swift = Swift(directory / "swift", address=block.address(254))
        swift.start()
        try:
            sets = [
                run_set(Bench(swift, directory, scale), data, directory / data.name, rounds, say)
                for data in data_sets(scale)
            ]
        finally:
            swift.stop()
            block.release()
    return {**begun, "sets": sets}


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of uploads of each set")
    parser.add_argument("--scale", type=float, default=1.0, help="part of each set's SSTables")
    parser.add_argument("--record", type=Path, help="directory of runs.json, and of the plot")
    options = parser.parse_args()
    record = run(options.rounds, options.scale, lambda text: print(text, file=sys.stderr))
    print(json.dumps(record, indent=1))
    if options.record is not None:
        from benchmarks.plotting import plot  # needs the extra "benchmark"

        add_record(options.record / "runs.json", record)
        plot(record, options.record / "upload.svg")


if __name__ == "__main__":
    main()
