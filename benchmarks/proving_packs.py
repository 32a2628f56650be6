# SPDX-License-Identifier: Apache-2.0
"""What it costs that every re-used pack is asked for by a request of its own.

The same unchanged node backup is uploaded, and verified, by turns: with these requests, and with a
driver that answers them from the container's listing, as the first release did.

Usage: python -m benchmarks.proving_packs [--rounds N] [--scale F] [--pack-size BYTES]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.data import TAG, DataSet, data_sets
from benchmarks.node_upload import HOST_ID
from benchmarks.records import circumstances
from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.domain.backup.manifest import NodeManifestHeader
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.repository.upload.upload import Caller, NodeSnapshot, upload_node
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from tests.lab.deployment import write_configuration
from tests.lab.ports import LoopbackBlock
from tests.lab.swift import Swift
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import backup_id

_CLUSTER = "benchmark"


class TrustsListings:
    """A driver that takes what a container lists for what it has."""

    def __init__(self, driver: StorageDriver) -> None:
        self._driver = driver
        self._listed: dict[str, dict[str, ObjectInfo]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def head(self, container: str, name: str) -> ObjectInfo | None:
        """Return what the container listed."""
        return self._listed.get(container, {}).get(name)

    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List, and remember the answer."""
        found = list(self._driver.list(container, prefix))
        self._listed.setdefault(container, {}).update((info.name, info) for info in found)
        return iter(found)


@dataclass(frozen=True)
class Node:
    """A node with a data set, and its repository."""

    tree: SnapshotTree
    data: DataSet
    state: Path
    pack_size: int

    def upload(self, driver: StorageDriver, number: int) -> None:
        """Upload the files as a backup, and commit it."""
        cluster = ClusterRepository(driver, "benchmark", _CLUSTER)
        repository = NodeRepository(driver, "benchmark", _CLUSTER, HOST_ID)
        cluster.ensure()
        repository.ensure()
        index = FileIndex(self.state / "index.sqlite")
        header = NodeManifestHeader(
            backup_id=backup_id(number),
            cluster=_CLUSTER,
            host_id=HOST_ID,
            address="127.0.0.1",
            dc="dc1",
            rack="r1",
            version="5.0",
            tokens=(0,),
            data_directories=tuple(self.tree.directories),
            snapshot_tag=TAG,
            snapshot_started_at="",
            snapshot_finished_at="",
        )
        uploaded = upload_node(
            repository,
            index,
            NodeSnapshot(header, lambda: self.tree.files(TAG, self.data.descriptions())),
            UploadSettings(pack_size=self.pack_size, concurrency=4, readers=2),
            spool_directory=self.state,
            caller=Caller(progress=lambda _: None, raise_if_cancelled=lambda: None),
        )
        index.close()
        commit(cluster, number, {HOST_ID: uploaded})

    def verify(self, driver: StorageDriver, number: int) -> None:
        """Look for all packs of a backup; with a driver that trusts it, in the listing."""

        def repository_of(host_id: str) -> NodeRepository:
            repository = NodeRepository(driver, "benchmark", _CLUSTER, host_id)
            if isinstance(driver, TrustsListings):
                repository.packs()
            return repository

        report = verify_backup(
            ClusterRepository(driver, "benchmark", _CLUSTER),
            repository_of,
            backup_id(number),
            manifest_sha256="",
            read_data=False,
            progress=lambda files, size: None,
            raise_if_cancelled=lambda: None,
        )
        if report.problems:
            raise RuntimeError(f"the backup has problems: {report.problems}")


@contextmanager
def _swift(directory: Path) -> Iterator[StorageDriver]:
    block = LoopbackBlock()
    swift = Swift(directory / "swift", address=block.address(254))
    try:
        swift.start()
        access = {
            "auth_type": "v1password",
            "auth_url": swift.auth_v1_url,
            "username": "test:tester",
            "password": "testing",
        }
        path = directory / "magnetodb-backup.conf"
        config = write_configuration(
            path,
            {
                "DEFAULT": {"state_dir": directory},
                "storage": {"driver": "swift"},
                "swift": access,
            },
        )
        driver = parts.open_storage(configuration.load(["--config-file", str(config)]))
        yield driver
        driver.close()
    finally:
        swift.stop()
        block.release()


def _seconds(action: Callable[[], None]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


def _compared(
    rounds: int, proved: Callable[[int], None], trusted: Callable[[int], None]
) -> Mapping[str, float]:
    """Return the medians of both in milliseconds, taken by turns, and their ratio."""
    times: dict[str, list[float]] = {"requests": [], "listing": []}
    for number in range(rounds):
        times["requests"].append(_seconds(lambda n=2 * number: proved(n)))  # type: ignore[misc]
        times["listing"].append(_seconds(lambda n=2 * number + 1: trusted(n)))  # type: ignore[misc]
    medians = {name: statistics.median(found) * 1000 for name, found in times.items()}
    ratio = medians["requests"] / medians["listing"]
    return {name: round(found, 1) for name, found in medians.items()} | {"ratio": round(ratio, 3)}


def run(rounds: int, scale: float, pack_size: int) -> dict[str, Any]:
    """Return the record of a run."""
    begun = circumstances(rounds)
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        directory = Path(name)
        data, _ = data_sets(scale)
        files, size = data.write(directory / "data")
        node = Node(SnapshotTree([str(directory / "data")]), data, directory, pack_size)
        with _swift(directory) as driver:
            node.upload(driver, 1)
            packs = len(NodeRepository(driver, "benchmark", _CLUSTER, HOST_ID).packs())
            trusting = cast("StorageDriver", TrustsListings(driver))
            upload = _compared(
                rounds,
                lambda number: node.upload(driver, 10 + number),
                lambda number: node.upload(trusting, 10 + number),
            )
            verify = _compared(
                rounds,
                lambda number: node.verify(driver, 1),
                lambda number: node.verify(cast("StorageDriver", TrustsListings(driver)), 1),
            )
    return {
        **begun,
        "files": files,
        "bytes": size,
        "packs": packs,
        "unit": "ms",
        "unchanged upload": upload,
        "verify": verify,
    }


def main() -> None:
    """Run, and print the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proving_packs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 600 MB of data")
    parser.add_argument("--pack-size", type=int, default=32 << 20, help="bytes of a pack")
    options = parser.parse_args()
    print(json.dumps(run(options.rounds, options.scale, options.pack_size), indent=1))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
