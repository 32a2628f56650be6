# SPDX-License-Identifier: Apache-2.0
"""A backup of a thousand nodes: when a step's tasks start, and what the conductor needs for it.

The conductor is the real one, with SQLite and the in-memory bus; the workers are simulated in the
same process, so its memory is an upper bound of the conductor's.

Usage: python -m benchmarks.thousand_nodes [--workers N] [--seconds S] [--record DIRECTORY]
"""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import argparse
import json
import os
import resource
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from oslo_config import cfg
from sqlalchemy import event

from benchmarks.records import add_record, circumstances
from benchmarks.simulated_workers import CLUSTER, PREFIX, SimulatedWorkers
from magnetodb_backup.cmd import configuration
from magnetodb_backup.cmd.conductor import make_conductor
from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.messaging.bus import make_transport
from magnetodb_backup.storage.memory import MemoryDriver
from tests.lab.deployment import write_configuration

_DEADLINE = 1200.0  # seconds


def _resident() -> int:
    """Return the bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Statements:
    """Counts what the database is asked."""

    def __init__(self, database: Database) -> None:
        self.reads = self.writes = 0
        event.listen(database._engine, "before_cursor_execute", self._count)

    def _count(self, connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            self.reads += 1
        elif statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            self.writes += 1


def run(workers: int, seconds: float) -> dict[str, Any]:
    """Make a backup of so many nodes, whose tasks take so many seconds; return the record."""
    begun = circumstances(1)
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        directory = Path(name)
        file = write_configuration(
            directory / "service.conf",
            {
                "DEFAULT": {"state_dir": directory},
                "storage": {"driver": "filesystem", "prefix": PREFIX},
                "filesystem": {"directory": directory / "store"},
                "conductor": {"worker_timeout": 3600},
            },
        )
        configuration.load(["--config-file", str(file)], cfg.CONF)
        database = connect(f"sqlite:///{directory / 'catalogue.sqlite'}")
        database.sync()
        transport, store = make_transport(cfg.CONF, "fake://"), MemoryDriver()
        simulated = SimulatedWorkers(transport, store, workers, seconds)
        for report in simulated.reports():
            database.nodes.report(report)
        conductor = make_conductor(cfg.CONF, database, transport, lambda: store)
        before = _resident()
        statements = Statements(database)
        conductor.start()
        request = BackupRequest({"type": "keyspaces", "keyspaces": ["ks"]})
        started = time.monotonic()
        backup = database.backups.create(request, str(uuid.uuid4()), CLUSTER)
        threads = 0
        while database.backups.get(backup.id).status is BackupStatus.CREATING:
            threads = max(threads, threading.active_count())
            if time.monotonic() - started > _DEADLINE:
                raise RuntimeError(f"not done after {_DEADLINE:g} s")
            time.sleep(0.2)
        took = time.monotonic() - started
        ended = database.backups.get(backup.id)
        conductor.stop()
        database.close()
    if ended.status is not BackupStatus.CREATED:
        raise RuntimeError(ended.error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        **begun,
        "workers": workers,
        "seconds_per_task": seconds,
        "seconds": round(took, 1),
        "threads": threads,
        "memory_before": before,
        "peak_memory": peak,
        "calls": dict(simulated.calls),
        "database_reads": statements.reads,
        "database_writes": statements.writes,
        "steps": {
            step: {
                "first_to_last_start": round(max(starts) - min(starts), 3),
                "all_started_before_the_first_end": max(starts) < min(simulated.ends[step]),
            }
            for step, starts in simulated.starts.items()
            if len(starts) > 1
        },
    }


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.thousand_nodes", description=__doc__
    )
    parser.add_argument("--workers", type=int, default=1000, help="simulated workers")
    parser.add_argument("--seconds", type=float, default=3.0, help="time that each task takes")
    parser.add_argument("--record", type=Path, help="directory of thousand-nodes-runs.json")
    options = parser.parse_args()
    record = run(options.workers, options.seconds)
    print(json.dumps(record, indent=1))
    if options.record is not None:
        add_record(options.record / "thousand-nodes-runs.json", record)


if __name__ == "__main__":
    main()
