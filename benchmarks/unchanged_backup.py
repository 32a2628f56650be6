# SPDX-License-Identifier: Apache-2.0
"""A backup of an unchanged cluster of three nodes: what each of its steps costs.

The service time is that between the record of the request and the end of the job in the database.

Usage: python -m benchmarks.unchanged_backup [--rounds N] [--nodetool] [--record DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.records import add_record, circumstances
from tests.lab.cassandra import CassandraCluster
from tests.lab.deployment import Deployment
from tests.lab.ports import LoopbackBlock
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.rig import PREFIX
from tests.lab.swift import Swift

_TABLES, _ROWS = 10, 300
# The lab's own values are shorter than those that operators get.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "conductor": {"poll_interval": 1.0, "worker_timeout": 20, "outage_deadline": 900},
    "worker": {"heartbeat_interval": 5},
}


def make_tables(cluster: CassandraCluster) -> None:
    """Make ten tables with rows that are flushed; nothing compacts them."""
    still = "WITH compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}"
    with cluster.session() as session:
        session.execute(
            "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 2}"
        )
        for number in range(_TABLES):
            session.execute(f"CREATE TABLE shop.t{number} (id int PRIMARY KEY, text text) {still}")
            insert = session.prepare(f"INSERT INTO shop.t{number} (id, text) VALUES (?, ?)")
            for key in range(_ROWS):
                session.execute(insert, (key, f"{key:0100d}"))
    for node in cluster.nodes:
        node.flush("shop")


@contextmanager
def running(directory: Path, *, nodetool: bool) -> Iterator[tuple[CassandraCluster, Deployment]]:
    """Run three nodes with the sample data, Swift, RabbitMQ and the service."""
    block = LoopbackBlock()
    swift = Swift(directory / "swift", address=block.address(254))
    rabbitmq = RabbitMQ(directory / "rabbitmq", address=block.address(253))
    cluster = CassandraCluster(directory / "cassandra", block=block)
    parts: list[Any] = [swift, rabbitmq, cluster]
    try:
        for part in parts:
            part.start()
        deployment = Deployment(
            directory / "service",
            {
                **_DEFAULTS,
                "DEFAULT": {"transport_url": rabbitmq.transport_url},
                "storage": {"driver": "swift", "prefix": PREFIX},
                "swift": {
                    "auth_type": "v1password",
                    "auth_url": swift.auth_v1_url,
                    "username": "test:tester",
                    "password": "testing",
                },
            },
            cluster.nodes,
            nodetool=nodetool,
        )
        parts.append(deployment)
        deployment.start()
        yield cluster, deployment
    finally:
        for part in reversed(parts):
            part.stop()
        block.release()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def measure(catalogue: Path, backup_id: str) -> dict[str, Any]:
    """Return the times of a backup that ended, in milliseconds."""
    with closing(sqlite3.connect(f"file:{catalogue}?mode=ro", uri=True)) as database:
        job_id, created, updated = database.execute(
            "SELECT id, created_at, updated_at FROM jobs"
            " WHERE subject_kind = 'backup' AND subject_id = ?",
            (backup_id,),
        ).fetchone()
        steps = database.execute(
            "SELECT name, finished_at, result FROM job_steps WHERE job_id = ? ORDER BY finished_at",
            (job_id,),
        ).fetchall()
    before, times = _moment(created), {}
    snapshots: list[dict[str, Any]] = []
    for name, finished, result in steps:
        times[name] = (_moment(finished) - before).total_seconds() * 1000
        before = _moment(finished)
        if name == "snapshot":
            snapshots = list(json.loads(result)["results"].values())
    begun = [_moment(s["started_at"]) for s in snapshots]
    ended = [_moment(s["finished_at"]) for s in snapshots]
    return {
        "service_time": (_moment(updated) - _moment(created)).total_seconds() * 1000,
        "skew": (max(ended) - min(begun)).total_seconds() * 1000,
        "first_to_last_start": (max(begun) - min(begun)).total_seconds() * 1000,
        "steps": times,
    }


def _medians(measured: list[dict[str, Any]]) -> dict[str, Any]:
    def median(values: list[float]) -> float:
        return round(statistics.median(values), 1)

    steps = measured[0]["steps"]
    return {
        **{
            name: {
                "median": median([m[name] for m in measured]),
                "min": round(min(m[name] for m in measured), 1),
                "max": round(max(m[name] for m in measured), 1),
            }
            for name in ("service_time", "skew", "first_to_last_start")
        },
        "steps": {name: median([m["steps"][name] for m in measured]) for name in steps},
    }


def run(rounds: int, *, nodetool: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Make one backup, then ``rounds`` of the unchanged cluster; return the record of the run."""
    begun = circumstances(rounds)
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        directory = Path(name)
        with running(directory, nodetool=nodetool) as (cluster, deployment):
            make_tables(cluster)
            measured = []
            for number in range(rounds + 1):
                outcome = deployment.backup("--all-keyspaces")
                if outcome.code:
                    raise RuntimeError(outcome.err)
                catalogue = deployment.directory / "catalogue.sqlite"
                times = measure(catalogue, outcome.json["id"])
                say(f"round {number} of {rounds}: {times}")
                measured.append(times)
    return {
        **begun,
        "nodes": len(deployment.nodes),
        "node_control": "nodetool" if nodetool else "jolokia",
        "unit": "ms",
        **_medians(measured[1:]),
    }


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unchanged_backup", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="backups of the unchanged cluster")
    parser.add_argument(
        "--nodetool", action="store_true", help="control the first node by nodetool"
    )
    parser.add_argument("--record", type=Path, help="directory of unchanged-runs.json")
    options = parser.parse_args()
    record = run(
        options.rounds,
        nodetool=options.nodetool,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(json.dumps(record, indent=1))
    if options.record is not None:
        add_record(options.record / "unchanged-runs.json", record)


if __name__ == "__main__":
    main()
