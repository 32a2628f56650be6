# SPDX-License-Identifier: Apache-2.0
"""The load while processes are killed: writes, and all that the service does with backups."""

from __future__ import annotations

import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cassandra import ConsistencyLevel, DriverException, RequestExecutionException
from cassandra.cluster import NoHostAvailable

from tests.faults.killing.prey import Prey
from tests.functional.sample import make_keyspace
from tests.lab.deployment import Outcome

KEYSPACE = "prey"
TABLE = f"{KEYSPACE}.t"
_BATCH, _WIDTH = 20, 2000  # rows, and the bytes of each
_MANY = 10  # CREATED backups, above which they are only deleted
_REGRETTED, _BY_API = 0.3, 0.05  # shares of the deletions, and of the requests to the API
# What a client sees of a node that was killed.
UNREACHABLE = (
    DriverException, RequestExecutionException, NoHostAvailable, OSError, RuntimeError,
)  # fmt: skip


@dataclass
class Written:
    """Rows, each written once; ``durable`` ones are flushed on all nodes."""

    attempted: dict[int, str] = field(default_factory=dict)
    durable: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Bounds:
    """A backup has at least the rows ``least`` and no others than ``most``, by their IDs."""

    least: frozenset[int]
    most: frozenset[int]


class Load:
    """Threads that use the prey until they are stopped; that what they ask for fails is normal."""

    def __init__(self, prey: Prey, seed: int) -> None:
        self._rig, self._api = prey.rig, prey.api
        self._stopping = threading.Event()
        self._draws = {name: Random(f"{seed} {name}") for name in ("api", "others")}
        self.written = Written()
        self.bounds: dict[str, Bounds] = {}
        self.kept: set[str] = set()  # backups that are not deleted
        self.outcomes: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(deed,), name=deed.__name__)
            for deed in (self._write, self._back_up, self._use_backups, self._ask_api)
        ]

    def make_table(self) -> None:
        """Make the table, its first rows, and a backup that is never deleted."""
        make_keyspace(self._rig, KEYSPACE)
        # Compactions go on: SSTables vanish below snapshots, and there are never too many.
        self._rig.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (id int PRIMARY KEY, text text)")
        for _ in range(5):
            self._write_batch()
        self.kept.add(self._one_backup("--wait", "--timeout", "280"))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what each thread does now."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(400)
            assert not thread.is_alive(), f"{thread.name} does not end"
        if self.errors:
            raise self.errors[0]

    def _guarded(self, deed: Callable[[], None]) -> None:
        try:
            while not self._stopping.wait(0.3):
                deed()
        except BaseException as error:  # noqa: BLE001 - stop() raises it
            self.errors.append(error)

    # Rows.

    def _write(self) -> None:
        try:
            self._write_batch()
        except UNREACHABLE:
            self.outcomes["writes failed"] += 1

    def _write_batch(self) -> None:
        first = len(self.written.attempted)
        rows = {first + n: secrets.token_hex(_WIDTH // 2) for n in range(_BATCH)}
        self.written.attempted.update(rows)
        with self._rig.cluster.session() as session:
            insert = session.prepare(f"INSERT INTO {TABLE} (id, text) VALUES (?, ?)")
            insert.consistency_level = ConsistencyLevel.ALL
            for future in [session.execute_async(insert, row) for row in rows.items()]:
                future.result()
        self._rig.flush(KEYSPACE)
        self.written.durable |= rows.keys()

    # Jobs.

    def _back_up(self) -> None:
        self._one_backup("--wait", "--timeout", "120")

    def _one_backup(self, *waiting: str) -> str:
        least = frozenset(self.written.durable)
        outcome = self._manage("backup", "create", "--keyspace", KEYSPACE, *waiting)
        if outcome is None or not outcome.out:
            return ""
        backup: dict[str, Any] = outcome.json
        # One that still runs can end at any time.
        ended = backup["status"] not in ("CREATING", "PENDING")
        most = frozenset(self.written.attempted) if ended else frozenset(range(1 << 20))
        self.bounds[backup["id"]] = Bounds(least, most)
        self.outcomes[f"backup {backup['status']}"] += 1
        return str(backup["id"])

    def _use_backups(self) -> None:
        draw = self._draws["others"]
        listed = self._manage("backup", "list", "--status", "CREATED")
        created = [b["id"] for b in listed.json] if listed is not None and listed.out else []
        if not created:
            return
        deeds = ["delete"] if len(created) > _MANY else ["verify", "restore", "delete", "collect"]
        what, backup = draw.choice(deeds), draw.choice(sorted(created))
        if what == "verify":
            self._manage("backup", "verify", backup, "--read-data", "--wait", "--timeout", "120")
        elif what == "restore":
            target = f"{KEYSPACE}_{secrets.token_hex(4)}"
            self._manage(
                "restore", "create", backup, "--to-keyspace", target, "--wait", "--timeout", "180"
            )
        elif what == "collect":
            self._manage("repository", "collect", "--wait", "--timeout", "120")
        elif backup not in self.kept:
            self._manage("backup", "delete", backup)
            if draw.random() < _REGRETTED:
                self._manage("backup", "undelete", backup)

    def _ask_api(self) -> None:
        """List backups over REST, and ask for one at times."""
        body = {"scope": {"type": "keyspaces", "keyspaces": [KEYSPACE]}}
        answer = (
            self._api.call("/v1/backups", body)
            if self._draws["api"].random() < _BY_API
            else self._api.call("/v1/backups?limit=20")
        )
        self.outcomes["REST: no answer" if answer is None else "REST: answers"] += 1
        self._stopping.wait(1)

    def _manage(self, *arguments: str) -> Outcome | None:
        what = " ".join(arguments[:2])
        try:
            outcome = self._rig.deployment.manage(*arguments)
        except subprocess.TimeoutExpired:
            self.outcomes[f"{what}: no answer"] += 1
            return None
        self.outcomes[f"{what}: exit code {outcome.code}"] += 1
        return outcome
