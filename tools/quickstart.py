# SPDX-License-Identifier: Apache-2.0
"""Shows backup and restore on a real Cassandra and a real Swift; run it by tools/quickstart.sh."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.cassandra import CassandraCluster, CassandraNode
from tests.lab.cassandra_flags import Shape
from tests.lab.ports import free_port, listens
from tests.lab.processes import ManagedProcess, stop_all, wait_for
from tests.lab.standalone import Standalone
from tests.lab.swift import Swift

_CHECKOUT = Path(__file__).resolve().parent.parent
_HOME = _CHECKOUT / ".quickstart"
_STILL = "WITH compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}"
_ORDERS, _NEW_ORDERS = 20_000, 400


class Problem(Exception):
    """Ends the quickstart; its text says what to do."""


class _Loopback:
    """Addresses that no test uses."""

    @staticmethod
    def address(host: int) -> str:
        return f"127.76.0.{host}"


def say(text: str) -> None:
    """Print a headline."""
    sys.stdout.write(f"\n==> {text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class _Kept:
    """A process that was left running; ``started`` tells it from a later one with its ID."""

    name: str
    pid: int
    started: str

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started


def _start_time(pid: int) -> str:
    """Return the start of a process in clock ticks since boot, empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _told(rows: list[tuple[int, str]]) -> str:
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    return f"{len(rows)} rows (SHA-256 {digest[:16]})"


def _kept() -> list[_Kept]:
    try:
        found = [_Kept(**p) for p in json.loads((_HOME / "processes.json").read_text())]
    except FileNotFoundError:
        return []
    return [p for p in found if p.alive()]


def stop_kept() -> None:
    """End what ``--keep`` left running."""
    running = _kept()
    for process in running:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        wait_for(
            lambda: not any(p.alive() for p in running),
            deadline=30,
            what="the end of all processes",
        )
    except TimeoutError:
        for process in running:
            if process.alive():
                os.killpg(process.pid, signal.SIGKILL)
    shutil.rmtree(_HOME, ignore_errors=True)
    say(f"stopped {len(running)} processes and removed {_HOME}")


class Quickstart:
    """The parts, and the tour."""

    def __init__(self) -> None:
        cassandra, swift = _Loopback.address(1), _Loopback.address(2)
        if listens(cassandra, CassandraNode.native_port):
            raise Problem(
                f"something already listens on {cassandra}:{CassandraNode.native_port}, perhaps a "
                "quickstart of another checkout; end it first"
            )
        shutil.rmtree(_HOME, ignore_errors=True)
        _HOME.mkdir(mode=0o700)
        say("preparing Swift and Cassandra (the first time they are fetched: some minutes)")
        self.swift = Swift(_HOME / "swift", address=swift)
        self.cluster = CassandraCluster(
            _HOME / "cassandra", Shape(1, name="Quickstart"), block=_Loopback()
        )
        self.node = self.cluster.nodes[0]
        self.api_port = free_port(swift)
        self.standalone = Standalone(
            _HOME,
            self.node,
            self.swift,
            {
                "api": {"host": swift, "port": self.api_port},
                "worker": {"heartbeat_interval": 1},
                # So that the tour can show the space that a collection frees.
                "conductor": {"poll_interval": 0.5, "undelete_period": 0, "collect_grace": 0},
            },
        )
        self.service = self.standalone.process
        self.newest = ""  # the ID of the schedule's backup

    def processes(self) -> list[ManagedProcess]:
        """Return all processes, the service first."""
        return [self.service, *self.swift.processes, self.node.process]

    def start(self) -> None:
        """Start everything and wait until the service sees its node."""
        self._timed("starting Swift", self.swift.start)
        self._timed("starting Cassandra with two data directories", self.cluster.start)
        self.service.start()
        self._timed("starting the service in standalone mode", self.standalone.wait_ready)

    @staticmethod
    def _timed(what: str, action: Callable[[], object]) -> None:
        say(f"{what} ...")
        started = time.monotonic()
        action()
        sys.stdout.write(f"    done in {time.monotonic() - started:.1f} s\n")

    def tour(self) -> None:
        """Back up, verify, restore a lost table, and let backups be made and expire by rules."""
        say(f"creating the keyspaces shop and archive, with {_ORDERS} orders")
        self._load()
        say("the first backup")
        self._manage("backup", "create", "--all-keyspaces", "--name", "first", "--wait")
        first = self._record("first")
        say("what it holds: the first files")
        self._manage("backup", "files", "first", "--table", "shop.orders", head=12)
        say("reading every byte back")
        self._manage("backup", "verify", "first", "--read-data")
        say(f"changing a little: {_NEW_ORDERS} more orders")
        self._orders(range(_ORDERS, _ORDERS + _NEW_ORDERS))
        say("the second backup")
        self._manage("backup", "create", "--all-keyspaces", "--name", "second", "--wait")
        second = self._record("second")
        self._manage("backup", "verify", "second", "--read-data")
        self._manage("backup", "list")
        say(
            f"the first backup uploaded {first['bytes_uploaded'] / 1e6:.1f} MB; the second has "
            f"{second['bytes'] / 1e6:.1f} MB and uploaded {second['bytes_uploaded'] / 1e6:.2f} MB"
        )
        self._lose_and_restore()
        self._run_by_itself()

    def _lose_and_restore(self) -> None:
        """Drop a table, get it back, and compare every row."""
        before = self._rows()
        say(f"dropping the table shop.orders, which has {_told(before)}")
        with self.cluster.session() as session:
            session.execute("DROP TABLE shop.orders")
            tables = session.execute(
                "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'shop'"
            )
            left = ", ".join(sorted(row.table_name for row in tables))
        sys.stdout.write(f"    left in shop: {left}\n")
        say("restoring it")
        self._manage("restore", "create", "second", "--table", "shop.orders", "--wait")
        after = self._rows()
        if after != before:
            raise Problem(f"shop.orders had {_told(before)}; now it has {_told(after)}")
        say(f"shop.orders is back: {_told(after)}, every row as it was before the drop")

    def _run_by_itself(self) -> None:
        """Make a schedule and a retention policy, and show the bytes that they free."""
        say("replacing all orders by new ones, and letting a schedule back them up every night")
        with self.cluster.session() as session:
            session.execute("TRUNCATE shop.orders")
        self._orders(range(_ORDERS))
        self._manage("schedule", "create", "nightly", "--cron", "30 2 * * *", "--all-keyspaces")
        say("not waiting for the night: it runs now")
        self._manage("schedule", "run", "nightly")
        self.newest = self._await_schedule()
        self._manage("schedule", "show", "nightly")
        say("keeping only the newest backup: the others expire")
        self._manage("retention", "set", "--redundancy", "1")
        self._manage("retention", "apply", "--dry-run")
        self._manage("retention", "apply", "--wait")
        say("freeing what no backup needs: the first collection looks, a later one removes")
        stored = self._stored()
        # Small files that later backups have too keep a pack of the tour: it is written again.
        repack = ("--repack", "50", "--repack-minimum", "0")
        self._manage("repository", "collect", *repack, "--dry-run")
        self._manage("repository", "collect", *repack, "--wait")
        self._manage("repository", "collect", "--wait")
        self._manage("backup", "verify", self.newest, "--read-data")
        left = wait_for(
            lambda: (now := self._stored()) < stored and now, deadline=120, what="freed bytes"
        )
        say(
            f"the store had {stored / 1e6:.1f} MB of packs, and has {left / 1e6:.1f} MB: "
            f"{(stored - left) / 1e6:.1f} MB are free. The quickstart has no grace periods; by "
            "default a deleted backup can be undeleted for seven days, and a pack that no backup "
            "needs stays for one day more"
        )

    def _await_schedule(self) -> str:
        """Return the ID of the backup that the schedule has made."""

        def ended() -> str:
            (run, *_) = self._json("schedule", "show", "nightly")["runs"]
            if run["status"].endswith("FAILED"):
                raise Problem(f"the schedule's run ended as {run}")
            return str(run["backup_id"]) if run["status"] == "CREATED" else ""

        return wait_for(ended, deadline=120, what="the schedule's backup", interval=0.5)

    def _stored(self) -> int:
        """Return the bytes of all packs that the store has."""
        return int(self._json("repository", "show")["total"]["bytes"])

    def _rows(self) -> list[tuple[int, str]]:
        with self.cluster.session() as session:
            return sorted(tuple(row) for row in session.execute("SELECT id, text FROM shop.orders"))

    def _load(self) -> None:
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        with self.cluster.session() as session:
            for statement in (
                f"CREATE KEYSPACE shop WITH replication = {replication}",
                f"CREATE KEYSPACE archive WITH replication = {replication}",
                "CREATE TYPE shop.address (street text, city text)",
                f"CREATE TABLE shop.orders (id int PRIMARY KEY, text text) {_STILL}",
                "CREATE TABLE shop.people "
                f"(id int PRIMARY KEY, home frozen<shop.address>, name text) {_STILL}",
                "CREATE INDEX by_name ON shop.people (name)",
                f"CREATE TABLE archive.years (year int PRIMARY KEY, visits counter) {_STILL}",
            ):
                session.execute(statement)
            for i in range(100):
                session.execute(
                    "INSERT INTO shop.people (id, home, name) "
                    f"VALUES ({i}, {{street: 's{i}', city: 'c'}}, 'n{i % 7}')"
                )
                session.execute(f"UPDATE archive.years SET visits = visits + {i} WHERE year = {i}")
        self._orders(range(_ORDERS))

    def _orders(self, rows: range) -> None:
        with self.cluster.session() as session:
            insert = session.prepare("INSERT INTO shop.orders (id, text) VALUES (?, ?)")
            for begin in range(rows.start, rows.stop, 500):
                batch = range(begin, min(begin + 500, rows.stop))
                pending = [
                    session.execute_async(insert, (i, secrets.token_hex(250))) for i in batch
                ]
                for future in pending:
                    future.result()

    def _record(self, name: str) -> dict[str, Any]:
        return self._json("backup", "show", name)

    def _json(self, *arguments: str) -> dict[str, Any]:
        shown = self.standalone.run(*arguments, "-f", "json")
        answer: dict[str, Any] = json.loads(shown.stdout)
        return answer

    def _manage(self, *arguments: str, head: int | None = None) -> None:
        """Run a command as the reader would, before their eyes."""
        sys.stdout.write(f"\n$ {Standalone.manage.name} {shlex.join(arguments)}\n")
        sys.stdout.flush()
        if head is None:
            command = self.standalone.command(*arguments)
            code = subprocess.run(command, timeout=600).returncode
        else:
            result = self.standalone.run(*arguments)
            lines = result.stdout.splitlines()
            rest = f"\n... {len(lines) - head} lines more" if len(lines) > head else ""
            sys.stdout.write("\n".join(lines[:head]) + f"{rest}\n{result.stderr}")
            code = result.returncode
        if code:
            raise Problem(f"the command ended with {code}; the service's log is {self.service.log}")

    def keep(self) -> None:
        """Remember what runs, and tell how to use it."""
        running = [
            {"name": p.name, "pid": p.pid, "started": _start_time(p.pid)} for p in self.processes()
        ]
        (_HOME / "processes.json").write_text(json.dumps(running, indent=1))
        manage = shlex.join(self.standalone.command())
        nodetool = shlex.join(
            [*self.node.nodetool_command(), "-h", "127.0.0.1", "-p", str(self.node.jmx_port)]
        )
        (_HOME / "nodetool").write_text(f'#!/bin/sh\nexec {nodetool} "$@"\n')
        (_HOME / "nodetool").chmod(0o700)
        say("everything goes on running. Try")
        sys.stdout.write(
            f"  {manage} backup create --table shop.orders --wait\n"
            f"  {manage} backup show {self.newest}\n"
            f"  {manage} restore create {self.newest} --table shop.orders --to-table old_orders "
            "--wait\n"
            f"  curl http://{_Loopback.address(2)}:{self.api_port}/v1/backups\n"
            f"  {_HOME / 'nodetool'} status\n"
            f"  CQL at {self.node.address}:{self.node.native_port}; Swift's v1 authentication at "
            f"{self.swift.auth_v1_url}, test:tester, testing\n"
            f"  logs and configuration: {_HOME}\n"
            "and end it by\n"
            "  tools/quickstart.sh --stop\n"
        )

    def stop(self) -> None:
        """End all that was started, and remove its files."""
        say("stopping everything")
        stop_all(self.processes())
        shutil.rmtree(_HOME, ignore_errors=True)


def main() -> int:
    """Run the tour; return 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="tools/quickstart.sh", description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--keep", action="store_true", help="leave everything running at the end")
    action.add_argument("--stop", action="store_true", help="end what --keep left running")
    options = parser.parse_args()
    if options.stop:
        stop_kept()
        return 0
    if _kept():
        sys.stderr.write("error: a quickstart runs; end it by tools/quickstart.sh --stop\n")
        return 1
    quickstart: Quickstart | None = None
    keeping = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        quickstart = Quickstart()
        for process in quickstart.processes():
            process.outlives_us = options.keep
        quickstart.start()
        quickstart.tour()
        if options.keep:
            quickstart.keep()
            keeping = True
    except (Problem, RuntimeError, TimeoutError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 1
    finally:
        if quickstart is not None and not keeping:
            quickstart.stop()
    say("done" if not keeping else "the quickstart is done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
