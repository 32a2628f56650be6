# SPDX-License-Identifier: Apache-2.0
"""From the command ``restore create --wait`` to a readable table, on a real Cassandra.

A node loses its table and gets it back; in turn the same packs are fetched bare. The service has
its usual options.

Usage: python -m benchmarks.readable [--rounds N] [--scale F] [--record DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cassandra.concurrent import execute_concurrent_with_args

from benchmarks.measuring import measure_resident
from benchmarks.records import add_record, circumstances
from magnetodb_backup.domain.restore.records import RestorePhase
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.ports import LoopbackBlock
from tests.lab.standalone import Standalone
from tests.lab.swift import Swift

_ROWS, _WIDTH = 60_000, 10_000  # bytes that do not compress: 600 MB
_TABLE = "benchmark.rows"


@dataclass(frozen=True)
class Bench:
    """The parts, running."""

    directory: Path
    swift: Swift
    cluster: CassandraCluster
    service: Standalone
    rows: int

    def load(self) -> None:
        """Make the table, and flush it."""
        with self.cluster.session() as session:
            session.execute(
                "CREATE KEYSPACE benchmark WITH replication = "
                "{'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
            session.execute(
                f"CREATE TABLE {_TABLE} (id int PRIMARY KEY, body blob) WITH compaction = "
                "{'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}"
            )
            insert = session.prepare(f"INSERT INTO {_TABLE} (id, body) VALUES (?, ?)")
            rows = ((number, _body(number)) for number in range(self.rows))
            execute_concurrent_with_args(session, insert, rows, concurrency=32)
        self.cluster.nodes[0].flush("benchmark")

    def back_up(self) -> Mapping[str, Any]:
        """Make the backup; return its record."""
        return self._done("backup", "create", "--table", _TABLE, "--wait")

    def lose(self) -> None:
        """Drop the table, and Cassandra's own snapshot of it."""
        with self.cluster.session() as session:
            session.execute(f"DROP TABLE {_TABLE}")
        self.cluster.nodes[0].clear_snapshots("", "benchmark")
        os.sync()  # what was written before is nobody's burden here

    def restore(self, backup_id: str) -> dict[str, float]:
        """Get the table back; return the seconds of each phase, and of all."""
        started = time.time()
        restore = self._done("restore", "create", backup_id, "--wait")
        answered = time.time()
        with self.cluster.session() as session:
            if session.execute(f"SELECT id FROM {_TABLE} LIMIT 1").one() is None:
                raise RuntimeError("no row is readable")
        readable = time.time()
        self._check()
        phases = {}
        last = started
        for name, finished in self._steps(str(restore["id"])):
            phases[name], last = finished - last, finished
        phases["answer"] = answered - last
        return {**phases, "all": readable - started}

    def bare(self, backup: Mapping[str, Any]) -> float:
        """Fetch the backup's packs as fast as the driver can; return the seconds."""
        place = self.directory / "bare"
        place.mkdir()
        (host_id,) = [node["host_id"] for node in backup["nodes"]]
        arguments = [str(self.service.config), self.cluster.name, host_id, str(place), "bare"]
        os.sync()
        try:
            command = [sys.executable, "-m", "benchmarks.node_restore", *arguments]
            return measure_resident(self.swift, command).seconds
        finally:
            shutil.rmtree(place)

    def _done(self, *arguments: str) -> Mapping[str, Any]:
        result = self.service.run(*arguments, "-f", "json")
        if result.returncode:
            raise RuntimeError(f"{arguments}: {result.stderr}")
        record: Mapping[str, Any] = json.loads(result.stdout)
        return record

    def _steps(self, restore_id: str) -> Iterator[tuple[str, float]]:
        """Yield each step and when it was finished, in seconds since the epoch."""
        path = self.service.state_directory / "magnetodb-backup.sqlite"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            found = dict(
                database.execute(
                    "SELECT name, finished_at FROM job_steps WHERE job_id = ?", (restore_id,)
                )
            )
        for phase in RestorePhase:
            if phase.value not in found:
                continue  # of offline restores
            when = datetime.fromisoformat(found[phase.value]).replace(tzinfo=timezone.utc)
            yield phase.value, when.timestamp()

    def _check(self) -> None:
        """Compare every row with what was written."""
        with self.cluster.session() as session:
            session.default_fetch_size = 200
            count = 0
            for row in session.execute(f"SELECT id, body FROM {_TABLE}"):
                count += 1
                if row.body != _body(row.id):
                    raise RuntimeError(f"row {row.id} is not what was written")
        if count != self.rows:
            raise RuntimeError(f"{count} of {self.rows} rows were restored")


def _body(number: int) -> bytes:
    return random.Random(number).randbytes(_WIDTH)


def run(rounds: int, scale: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Start the servers, take turns, and return the record of the run."""
    begun = circumstances(rounds)
    block = LoopbackBlock()
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        directory = Path(name)
        swift = Swift(directory / "swift", address=block.address(254))
        shape = Shape(1, name="Benchmark")
        cluster = CassandraCluster(directory / "cassandra", shape, block=block)
        options = {"api": {"host": block.address(253)}}
        service = Standalone(directory, cluster.nodes[0], swift, options)
        try:
            swift.start()
            cluster.start()
            service.process.start()
            service.wait_ready()
            bench = Bench(directory, swift, cluster, service, max(100, int(_ROWS * scale)))
            return {**begun, **_rounds(bench, rounds, say)}
        finally:
            service.process.stop(30)
            cluster.stop()
            swift.stop()
            block.release()


def _rounds(bench: Bench, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    bench.load()
    backup = bench.back_up()
    restores, bares = [], []
    for number in range(rounds):
        steps: list[Callable[[], None]] = [
            lambda: bares.append(bench.bare(backup)),
            lambda: restores.append(bench.restore(str(backup["id"]))),
        ]
        bench.lose()
        for step in reversed(steps) if number % 2 else steps:
            step()
        say(
            f"round {number + 1} of {rounds}: bare {bares[-1]:.2f} s, download "
            f"{restores[-1]['download']:.2f} s, readable after {restores[-1]['all']:.2f} s"
        )
    return {
        "files": backup["files"],
        "bytes": backup["bytes"],
        "phases": {name: statistics.median(r[name] for r in restores) for name in restores[0]},
        "bare": statistics.median(bares),
        "ratio": {
            name: _spread([r[name] / b for r, b in zip(restores, bares, strict=True)])
            for name in ("download", "all")
        },
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readable", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="losses of the table")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the table's rows")
    parser.add_argument("--record", type=Path, help="directory of readable-runs.json")
    options = parser.parse_args()
    record = run(options.rounds, options.scale, lambda text: print(text, file=sys.stderr))
    print(json.dumps(record, indent=1))
    if options.record is not None:
        add_record(options.record / "readable-runs.json", record)


if __name__ == "__main__":
    main()
