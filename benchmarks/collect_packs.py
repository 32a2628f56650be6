# SPDX-License-Identifier: Apache-2.0
"""A collection of a million packs: time and memory, beside one of a tenth of them.

The store is simulated: it makes its listing when it is asked for, and only counts deletions. The
node manifests lie on the disk. Half of the packs are live. Each measurement is a process of its
own, so that its memory is that of the collection.

Usage: python -m benchmarks.collect_packs [--packs N] [--backups N] [--record DIRECTORY]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import override

from benchmarks.records import add_record, circumstances
from magnetodb_backup.domain.backup.collection import ContainerUse, Repacking
from magnetodb_backup.domain.backup.manifest import NodeManifestHeader, NodeManifestTrailer
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.collect.collect import collect_container
from magnetodb_backup.repository.collect.records import Caller, Terms
from magnetodb_backup.repository.format import names
from magnetodb_backup.repository.format.lines import LineWriter
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver

_PREFIX, _CLUSTER = "magnetodb-backup", "simulated"
_HOST = "11111111-1111-4111-8111-111111111111"
_PACK, _LIVE = 32 << 20, 1 << 20  # bytes of a pack, and those of it that are live
_STRIDE = 7_368_787  # a prime: manifests name packs in another order than the listing
_GRACE = 86400.0
_NOW = {"first look": 0.0, "second look": 2 * _GRACE, "repack, dry run": 3 * _GRACE}
STEPS = tuple(_NOW)


@dataclass(frozen=True)
class Shape:
    """How much is stored: the ``backups`` share half of the packs out among themselves."""

    packs: int
    backups: int


def _pack(number: int, shape: Shape) -> str:
    """Return the name of a pack; names grow with the number."""
    first = number * ((1 << 64) // shape.packs)
    return f"{first:016x}{hashlib.sha256(b'%d' % number).hexdigest()[:48]}"


def _backup_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _write_manifest(file: BinaryIO, number: int, shape: Shape) -> None:
    """Write a manifest with one file in each pack that the backup needs: of the even packs."""
    time_ = f"2026-01-01T00:00:{number % 60:02d}+00:00"
    header = NodeManifestHeader(
        backup_id=_backup_id(number), cluster=_CLUSTER, host_id=_HOST, address="10.0.0.1",
        dc="dc1", rack="r1", version="5.0.9", tokens=(1,), data_directories=("/data",),
        snapshot_tag="tag", snapshot_started_at=time_, snapshot_finished_at=time_,
    )  # fmt: skip
    lines, files = LineWriter(file), 0  # without the checks of the manifest's own writer
    lines.write(header.as_json(), "")
    for files, step in enumerate(range(number, shape.packs // 2, shape.backups), 1):  # noqa: B007
        pack = step * _STRIDE % (shape.packs // 2) * 2
        name = _pack(pack, shape)
        entry = {
            "keyspace": "ks", "table": "t", "table_id": "0" * 32, "index": None,
            "data_directory": 0, "name": f"nb-{pack}-big-Data.db", "size": _LIVE, "mtime_ns": 1,
            "sha256": name, "crc32": None, "extents": [[name, 0, _LIVE]],
        }  # fmt: skip
        lines.write(entry, "")
    lines.write({"trailer": asdict(NodeManifestTrailer(files, files * _LIVE, 0))}, "")
    lines.finish()


class SimulatedStore(StorageDriver):
    """Lists packs; has the node manifests, and what a collection stores, in a directory."""

    def __init__(self, shape: Shape, directory: Path) -> None:
        self._shape, self._directory = shape, directory
        self.requests = 0

    def _file(self, name: str) -> Path:
        return self._directory / name.replace("/", "+")

    @override
    def ensure_container(self, container: str) -> None:
        raise NotImplementedError

    @override
    def containers(self, prefix: str) -> Iterator[str]:
        raise NotImplementedError

    @override
    def put(
        self, container: str, name: str, body: bytes | memoryview | BinaryIO, *, size: int, md5: str
    ) -> None:
        self.requests += 1
        assert not isinstance(body, bytes | memoryview)
        with self._file(name).open("wb") as file:
            while piece := body.read(1 << 20):
                file.write(piece)

    @override
    def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        self.requests += 1
        try:
            with self._file(name).open("rb") as file:
                while piece := file.read(1 << 16):
                    yield piece
        except FileNotFoundError:
            raise NotFound(name) from None

    @override
    def head(self, container: str, name: str) -> ObjectInfo | None:
        raise NotImplementedError

    @override
    def list(self, container: str, prefix: str = "") -> Iterator[ObjectInfo]:
        assert prefix == names.PACKS
        for number in range(self._shape.packs):
            if number % 10_000 == 0:
                self.requests += 1
            yield ObjectInfo(names.pack_name(_pack(number, self._shape)), _PACK, "")

    @override
    def folders(self, container: str, prefix: str) -> Iterator[str]:
        self.requests += 1
        for number in range(self._shape.backups):
            yield f"{prefix}{_backup_id(number)}/"

    @override
    def delete(self, container: str, name: str) -> None:
        self.requests += 1
        self._file(name).unlink(missing_ok=True)

    @override
    def delete_container(self, container: str) -> None:
        raise NotImplementedError

    @override
    def close(self) -> None:
        pass


def _prepare(shape: Shape, directory: Path) -> None:
    """Write the node manifests, and the index of a worker that knows all packs."""
    store = SimulatedStore(shape, directory)
    for number in range(shape.backups):
        name = names.node_manifest_name(_backup_id(number), _HOST)
        with store._file(name).open("wb") as file:
            _write_manifest(file, number, shape)
    index = FileIndex(directory / "index.sqlite")
    for number in range(shape.packs):
        index.learn_pack(_pack(number, shape), _PACK)
    index.close()


def _collect(step: str, store: SimulatedStore, directory: Path) -> ContainerUse:
    index = FileIndex(directory / "index.sqlite")
    dry_run = step == "repack, dry run"
    try:
        return collect_container(
            NodeRepository(store, _PREFIX, _CLUSTER, _HOST),
            ClusterRepository(store, _PREFIX, _CLUSTER),
            index,
            Terms(
                known={},
                now=_NOW[step],
                grace=_GRACE,
                report_only=dry_run,
                repacking=Repacking(50, 1) if dry_run else None,
            ),
            spool_directory=directory,
            caller=Caller(),
        )
    finally:
        index.close()


def _child(step: str, shape: Shape, directory: Path) -> dict[str, Any]:
    store = SimulatedStore(shape, directory)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    use = _collect(step, store, directory)
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(seconds, 2),
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "memory_added": (after.ru_maxrss - before.ru_maxrss) * 1024,
        "peak_memory": after.ru_maxrss * 1024,
        "requests": store.requests,
        "live": use.live_packs,
        "freed": use.freed_packs,
        "repack": use.repack_packs,
    }


def _steps(shape: Shape) -> dict[str, Any]:
    """Return what each step costs, each in a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="magnetodb-backup-benchmark-") as name:
        _prepare(shape, Path(name))
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.collect_packs", "--child", step, name]
            command += [f"--{key}={value}" for key, value in asdict(shape).items()]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found[step] = json.loads(done.stdout.splitlines()[-1])
            sys.stderr.write(f"{shape.packs} packs, {step}: {found[step]}\n")
    return found


def run(shape: Shape) -> dict[str, Any]:
    """Measure a tenth of the packs, then all; return the record with the ratios of both."""
    begun = circumstances(1)
    tenth = _steps(Shape(shape.packs // 10, shape.backups))
    whole = _steps(shape)
    ratios = {
        step: {
            key: round(whole[step][key] / max(tenth[step][key], 0.01), 2)
            for key in ("seconds", "cpu", "peak_memory")
        }
        for step in STEPS
    }
    return {**begun, **asdict(shape), "tenth": tenth, "whole": whole, "ratio": ratios}


def main() -> None:
    """Run, print the record, and add it to the recorded runs if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collect_packs", description=__doc__)
    parser.add_argument("--packs", type=int, default=1_000_000, help="packs in the container")
    parser.add_argument("--backups", type=int, default=8, help="backups of the node")
    parser.add_argument("--record", type=Path, help="directory of collect-runs.json")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = Shape(options.packs, options.backups)
    if options.child is not None:
        print(json.dumps(_child(options.child[0], shape, Path(options.child[1]))))
        return
    record = run(shape)
    print(json.dumps(record, indent=1))
    if options.record is not None:
        add_record(options.record / "collect-runs.json", record)


if __name__ == "__main__":
    main()
