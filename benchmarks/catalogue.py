# SPDX-License-Identifier: Apache-2.0
"""A catalogue of ten thousand backups: rebuilding it from a store, and listing it.

The store is simulated: it makes each manifest when it is read, after a delay for the request. Each
measurement is a process of its own, so that its memory is that of the command.

Usage: python -m benchmarks.catalogue [--backups N] [--nodes N] [--delay S] [--record DIRECTORY]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, BinaryIO

from falcon import testing
from oslo_config import cfg
from typing_extensions import override

from benchmarks.records import add_record, circumstances
from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.cli.services import Services
from magnetodb_backup.cmd import configuration
from magnetodb_backup.cmd.api import make_application
from magnetodb_backup.database import connect
from magnetodb_backup.domain.backup.manifest import BackupManifest, NodeShare, StoredObject
from magnetodb_backup.domain.tables import TableDescription, TableName
from magnetodb_backup.errors import NotFound
from magnetodb_backup.messaging.bus import make_transport
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.manifests import backup_manifest_bytes
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from tests.lab.deployment import write_configuration

_PREFIX, _CLUSTER = "magnetodb-backup", "simulated"
_BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_TOKENS, _TABLES = 16, 50


@dataclass(frozen=True)
class Shape:
    """How much is stored; ``delay`` is the time of a request to the store in seconds."""

    backups: int
    nodes: int
    delay: float


def _id(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15 % (1 << 128), version=4))


class SimulatedStore(StorageDriver):
    """Has the manifests of many backups of one cluster; takes no objects."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._numbers = {_id(number): number for number in range(1, shape.backups + 1)}
        self.requests = 0

    def _request(self) -> None:
        self.requests += 1
        time.sleep(self._shape.delay)

    @override
    def ensure_container(self, container: str) -> None:
        raise NotImplementedError

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        self._request()
        yield layout.cluster_container(_PREFIX, _CLUSTER)

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        raise NotImplementedError

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        self._request()
        backup_id = name.split("/")[1]
        if backup_id not in self._numbers:
            raise NotFound(name)
        yield backup_manifest_bytes(self._manifest(self._numbers[backup_id], backup_id))

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        raise NotImplementedError

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        raise NotImplementedError(f"{prefix} is not readable")

    @override
    def folders(self, container: str, prefix: str) -> Iterator[str]:
        self._request()
        if prefix == layout.BACKUPS:
            yield from (f"{prefix}{backup_id}/" for backup_id in sorted(self._numbers))

    @override
    def delete(self, container: str, name: str) -> None:
        raise NotImplementedError

    @override
    def delete_container(self, container: str) -> None:
        raise NotImplementedError

    @override
    def close(self) -> None:
        pass

    def _manifest(self, number: int, backup_id: str) -> BackupManifest:
        created = _BEGIN + timedelta(hours=number)
        digest = hashlib.sha256(backup_id.encode()).hexdigest()
        tables = [
            TableDescription(TableName("ks", f"table{n}"), digest[:32]).as_json()
            for n in range(_TABLES)
        ]
        shares = tuple(
            NodeShare(
                host_id=_id(1_000_000 + node),
                address=f"10.0.{node // 250}.{node % 250}",
                dc="dc1",
                rack=f"rack{node % 3}",
                version="5.0.9",
                tokens=tuple(range(node, node + _TOKENS)),
                manifest=StoredObject(
                    layout.node_manifest_name(backup_id, _id(1_000_000 + node)), 9, digest
                ),
                files=1000,
                bytes=1_000_000_000,
                corrupt_files=0,
                snapshot_started_at=created.isoformat(),
                snapshot_finished_at=created.isoformat(),
            )
            for node in range(self._shape.nodes)
        )
        return BackupManifest(
            backup_id=backup_id,
            name=f"nightly-{number}",
            cluster=_CLUSTER,
            status="CREATED",
            created_at=created.isoformat(),
            committed_at=(created + timedelta(minutes=9)).isoformat(),
            scope={"type": "keyspaces", "keyspaces": ["ks"]},
            selection={"keyspaces": [], "tables": tables},
            schema=StoredObject(layout.schema_name(backup_id), 10, digest),
            schema_version=digest[:32],
            skew_ms=5,
            coverage={"ks": {"status": "complete"}},
            nodes=shares,
        )


def _manage(database: str, store: SimulatedStore, *arguments: str) -> int:
    """Run a command whose output is dropped; return its exit code."""

    def unused(*_: object) -> Any:
        raise NotImplementedError

    opened = connect(database)
    services = Services(
        database=lambda: opened,
        unchecked_database=lambda: opened,
        requests=unused,
        repository=unused,
        catalogue=lambda: StoredBackups(store, _PREFIX),
    )
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        return ManageApp(services).run(list(arguments))


def _rest(database: str, paths: Callable[[Callable[[str], Any]], None], directory: Path) -> None:
    """Run requests against the WSGI application."""
    file = write_configuration(
        directory / "api.conf", {"DEFAULT": {"state_dir": directory, "transport_url": "fake://"}}
    )
    conf = configuration.load(["--config-file", str(file)], cfg.CONF)
    client = testing.TestClient(make_application(conf, connect(database), make_transport(conf)))

    def get(path: str) -> Any:
        answer = client.simulate_get(path, host="127.0.0.1")
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        return answer

    paths(get)


def _all_pages(get: Callable[[str], Any]) -> None:
    path = "/v1/backups"
    while path:
        links = get(path).json["links"]
        path = "".join(link["href"] for link in links if link["rel"] == "next")


def _measured(work: Callable[[], object], store: SimulatedStore) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(seconds, 2),
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "memory_before": before.ru_maxrss * 1024,
        "peak_memory": after.ru_maxrss * 1024,
        "requests": store.requests,
    }


def _child(name: str, database: str, shape: Shape) -> dict[str, Any]:
    store = SimulatedStore(shape)
    directory = Path(database.removeprefix("sqlite:///")).parent

    def command(*arguments: str) -> Callable[[], object]:
        return lambda: _manage(database, store, *arguments)

    works: dict[str, Callable[[], object]] = {
        "rebuild": command("catalogue", "rebuild", "-f", "csv"),
        "rebuild again": command("catalogue", "rebuild", "-f", "csv"),
        "rebuild --new": command("catalogue", "rebuild", "--new", "-f", "csv"),
        "backup list": command("backup", "list"),
        "backup list -f json": command("backup", "list", "-f", "json"),
        "backup list --limit 100": command("backup", "list", "--limit", "100"),
        "GET /v1/backups": lambda: _rest(database, lambda get: get("/v1/backups"), directory),
        "GET all pages": lambda: _rest(database, _all_pages, directory),
    }
    return _measured(works[name], store)


STEPS = (
    "rebuild",
    "rebuild again",
    "rebuild --new",
    "backup list",
    "backup list -f json",
    "backup list --limit 100",
    "GET /v1/backups",
    "GET all pages",
)


def run(shape: Shape, steps: Sequence[str] = STEPS) -> dict[str, Any]:
    """Measure each step in a process of its own; return the record."""
    record = {**circumstances(1), **vars(shape), "steps": {}}
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        url = f"sqlite:///{Path(name) / 'catalogue.sqlite'}"
        database = connect(url)
        database.sync()
        database.close()
        for step in steps:
            command = [sys.executable, "-m", "benchmarks.catalogue", "--child", step, url]
            command += [f"--{key}={value}" for key, value in vars(shape).items()]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            record["steps"][step] = json.loads(done.stdout.splitlines()[-1])
            sys.stderr.write(f"{step}: {record['steps'][step]}\n")
    return record


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue", description=__doc__)
    parser.add_argument("--backups", type=int, default=10_000, help="backups in the store")
    parser.add_argument("--nodes", type=int, default=3, help="nodes of the cluster")
    parser.add_argument("--delay", type=float, default=0.005, help="seconds of a request")
    parser.add_argument("--step", action="append", choices=STEPS, help="measure only this")
    parser.add_argument("--record", type=Path, help="directory of catalogue-runs.json")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = Shape(options.backups, options.nodes, options.delay)
    if options.child is not None:
        print(json.dumps(_child(options.child[0], options.child[1], shape)))
        return
    record = run(shape, options.step or STEPS)
    print(json.dumps(record, indent=1))
    if options.record is not None:
        add_record(options.record / "catalogue-runs.json", record)


if __name__ == "__main__":
    main()
