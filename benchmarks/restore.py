# SPDX-License-Identifier: Apache-2.0
"""The download of one node's restore against the bare transfer of the same packs.

Both use the same driver, threads and fsyncs; ours also makes, hashes and journals the files.

Usage: python -m benchmarks.restore [--rounds N] [--scale F] [--record DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.data import DataSet, data_sets
from benchmarks.measuring import Cost, measure_resident
from benchmarks.node_upload import HOST_ID, cluster_of
from benchmarks.records import add_record, circumstances
from benchmarks.upload import Bench
from tests.lab.ports import LoopbackBlock
from tests.lab.swift import Swift

OURS, BARE = "ours", "bare"


def download(
    bench: Bench, swift: Swift, data: DataSet, directory: Path, mode: str
) -> tuple[Cost, int]:
    """Download a set that was uploaded as number 0; return the cost and the number of files."""
    place = directory / f"restored-{mode}"
    place.mkdir()
    os.sync()  # what was written before is nobody's burden here
    state = str(directory / f"state-{data.name}-0")
    module = [sys.executable, "-m", "benchmarks.node_restore"]
    arguments = [str(bench.config), cluster_of(data.name, state), HOST_ID, str(place), mode]
    try:
        cost = measure_resident(swift, [*module, *arguments])
        files = sum(1 for path in place.rglob("*") if path.is_file())
        return cost, files - (mode == OURS)  # without the journal
    finally:
        shutil.rmtree(place)


def run_set(
    bench: Bench,
    swift: Swift,
    data: DataSet,
    directory: Path,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Upload a set once and download it ``rounds`` times in both ways, which takes turns."""
    files, size = data.write(directory / data.name)
    bench.ours(data, directory / data.name, 0)
    costs: dict[str, list[Cost]] = {OURS: [], BARE: []}
    for number in range(rounds):
        for mode in (OURS, BARE) if number % 2 else (BARE, OURS):
            cost, made = download(bench, swift, data, directory, mode)
            if mode == OURS and made != files:
                raise RuntimeError(f"{made} of {files} files were restored")
            costs[mode].append(cost)
        ours, bare = costs[OURS][-1].seconds, costs[BARE][-1].seconds
        say(
            f"{data.title}, round {number + 1} of {rounds}: bare {bare:.2f} s, "
            f"download {ours:.2f} s, ratio {ours / bare:.2f}"
        )
    ratios = [o.seconds / b.seconds for o, b in zip(costs[OURS], costs[BARE], strict=True)]
    return {
        "name": data.name,
        "title": data.title,
        "files": files,
        "bytes": size,
        "median": {
            mode: {
                field: statistics.median(asdict(cost)[field] for cost in measured)
                for field in asdict(measured[0])
            }
            for mode, measured in costs.items()
        },
        "ratio": {
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
            bench = Bench(swift, directory, scale)
            sets = [
                run_set(bench, swift, data, directory, rounds, say) for data in data_sets(scale)
            ]
        finally:
            swift.stop()
            block.release()
    return {**begun, "sets": sets}


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restore", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of downloads of each set")
    parser.add_argument("--scale", type=float, default=1.0, help="part of each set's SSTables")
    parser.add_argument("--record", type=Path, help="directory of restore-runs.json")
    options = parser.parse_args()
    record = run(options.rounds, options.scale, lambda text: print(text, file=sys.stderr))
    print(json.dumps(record, indent=1))
    if options.record is not None:
        add_record(options.record / "restore-runs.json", record)


if __name__ == "__main__":
    main()
