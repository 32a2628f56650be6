# SPDX-License-Identifier: Apache-2.0
"""One flipped bit anywhere in a stored backup: a verification finds it, no restore hides it."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.backup.manifest import NodeShare
from magnetodb_backup.domain.fingerprints import (
    Fingerprint,
    RangeFingerprint,
    RangeState,
    TokenRange,
)
from magnetodb_backup.domain.schema.rows import SchemaRow, schema_text
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import BackupError
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings, download_node
from magnetodb_backup.repository.findings import Problem
from magnetodb_backup.repository.format.fingerprints import FingerprintsWriter
from magnetodb_backup.repository.format.names import cluster_container, node_container
from magnetodb_backup.repository.format.schema_rows import StoredSchema
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.storage.filesystem import FilesystemDriver
from magnetodb_backup.storage.memory import MemoryDriver
from tests.lab.emulator.store import EmulatedStore
from tests.unit.domain.samples import RESTORE
from tests.unit.repository.backups import manifest
from tests.unit.repository.disk import CLUSTER, HOST, PACK_SIZE, PREFIX, Disk, backup_id, noise

_HOSTS = (HOST, "22222222-2222-4222-8222-222222222222")
_CONTAINER = cluster_container(PREFIX, CLUSTER)
_ID = backup_id(1)
# By the beginning of a name behind the backup's ID; the other objects are packs.
_KINDS = ("manifest.json", "schema.cql", "schema.jsonl", "nodes/", "figures/")
_SCHEMA = StoredSchema(
    (
        SchemaRow("ks", "keyspace", "ks", "CREATE KEYSPACE ks WITH replication = {'class': 'x'};"),
        SchemaRow("ks", "table", "t", "CREATE TABLE ks.t (id int PRIMARY KEY, name text);"),
    ),
    (SchemaRow("ks", "grant", "t", "GRANT SELECT ON TABLE ks.t TO app;"),),
)
_FINGERPRINTS = [
    RangeFingerprint(
        TableName("ks", "t"), TokenRange(n, n + 1), RangeState.STEADY, Fingerprint(n, f"{n:064x}")
    )
    for n in range(20)
]
Restored = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Stored:
    """A backup of two nodes with everything that a backup can have; ``kinds`` has its objects."""

    store: EmulatedStore
    directory: Path
    manifest_sha256: str
    contents: Restored
    kinds: Mapping[str, list[tuple[str, str]]]

    @property
    def cluster(self) -> ClusterRepository:
        return ClusterRepository(self.store, PREFIX, CLUSTER)

    def node(self, host: str) -> NodeRepository:
        return NodeRepository(self.store, PREFIX, CLUSTER, host)

    def problems(self) -> tuple[Problem, ...]:
        """Return what a verification reports that reads everything."""
        return verify_backup(
            self.cluster,
            self.node,
            _ID,
            manifest_sha256=self.manifest_sha256,
            read_data=True,
            progress=lambda *_: None,
            raise_if_cancelled=lambda: None,
        ).problems

    def restored(self) -> tuple[str, Restored]:
        """Return the schema and the files of a restore, as the conductor and workers read them."""
        restore = replace(RESTORE, backup_id=_ID, source_cluster=CLUSTER)
        source = SourceBackup(self.cluster, restore, self.manifest_sha256)
        files = {share.host_id: self._downloaded(share) for share in source.manifest.nodes}
        for stored in source.manifest.figures:
            list(self.cluster.fingerprints(_ID, stored))
        return schema_text(self.cluster.schema_rows(_ID).rows), files

    def _downloaded(self, share: NodeShare) -> dict[str, bytes]:
        target = self.directory / share.host_id
        try:
            download_node(
                self.node(share.host_id),
                lambda: self.cluster.node_manifest(_ID, share.host_id, share.manifest),
                lambda entry: target / "files" / entry.name,
                journal=target.with_suffix(".journal"),
                settings=DownloadSettings(concurrency=1),
                progress=lambda _: None,
                raise_if_cancelled=lambda: None,
            )
            return {path.name: path.read_bytes() for path in (target / "files").iterdir()}
        finally:
            shutil.rmtree(target, ignore_errors=True)
            target.with_suffix(".journal").unlink(missing_ok=True)


def _figures(host: str) -> bytes:
    file = io.BytesIO()
    writer = FingerprintsWriter(file, _ID, host)
    for fingerprint in _FINGERPRINTS:
        writer.add(fingerprint)
    writer.finish()
    return file.getvalue()


@pytest.fixture(params=["memory", "filesystem"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    (tmp_path / "store").mkdir()
    driver = MemoryDriver() if request.param == "memory" else FilesystemDriver(tmp_path / "store")
    store = EmulatedStore(driver)
    disks = [Disk(tmp_path, cast(Any, store), host) for host in _HOSTS]
    for seed, disk in enumerate(disks):
        for number in range(8):
            disk.write(f"f{number}", noise(100 * seed + number, PACK_SIZE // 3))
        disk.write("large", noise(100 * seed + 99, 2 * PACK_SIZE + 10))
        disk.write("empty", b"")
    cluster = disks[0].cluster
    schema = cluster.put_schema(_ID, schema_text(_SCHEMA.rows))
    cluster.put_schema_rows(_ID, _SCHEMA)
    figures = tuple(cluster.put_fingerprints(_ID, host, _figures(host)) for host in _HOSTS)
    uploads = {disk.host_id: disk.upload() for disk in disks}
    committed = cluster.commit(replace(manifest(1, schema, uploads), figures=figures))
    contents = {disk.host_id: disk.contents() for disk in disks}
    return Stored(store, tmp_path, committed.sha256, contents, _by_kind(store))


def _by_kind(store: EmulatedStore) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in (*_KINDS, "packs/")}
    for container in (_CONTAINER, *(node_container(PREFIX, CLUSTER, host) for host in _HOSTS)):
        for info in store.list(container):
            name = info.name.removeprefix(f"backups/{_ID}/")
            (kind,) = [kind for kind in found if name.startswith(kind)]
            found[kind].append((container, info.name))
    return found


def _flips(stored: Stored, count: int, seed: int) -> Iterator[tuple[str, str, int]]:
    """Yield container, name and number of a bit; all kinds of objects in turn."""
    draw, kinds = random.Random(seed), list(stored.kinds)
    for number in range(count):
        container, name = draw.choice(stored.kinds[kinds[number % len(kinds)]])
        info = stored.store.head(container, name)
        assert info is not None
        yield container, name, draw.randrange(info.size * 8)


def _try_flips(stored: Stored, count: int, seed: int) -> None:
    assert all(stored.kinds.values())
    whole = (schema_text(_SCHEMA.rows), stored.contents)
    assert stored.problems() == ()
    assert stored.restored() == whole
    for container, name, bit in _flips(stored, count, seed):
        case = f"{container}/{name}, bit {bit}"

        def flip(body: bytes, bit: int = bit) -> bytes:
            return bytes(b ^ (1 << bit % 8) * (n == bit // 8) for n, b in enumerate(body))

        stored.store.change(container, name, flip)
        problems = stored.problems()
        assert problems, f"{case}: no verification finds it"
        assert any(_names(problem, name) for problem in problems), f"{case}: {problems}"
        with contextlib.suppress(BackupError):
            assert stored.restored() == whole, f"{case}: a restore hides it"
        stored.store.change(container, name, flip)
    assert stored.problems() == ()
    assert stored.restored() == whole


def _names(problem: Problem, name: str) -> bool:
    return name in problem.detail or (problem.pack != "" and name.endswith(problem.pack))


def test_each_flipped_bit_is_found(stored: Stored) -> None:
    _try_flips(stored, count=20, seed=1)


@pytest.mark.nightly
def test_each_of_very_many_flipped_bits_is_found(stored: Stored) -> None:
    """``test_each_flipped_bit_is_found`` flips some of them for each commit."""
    _try_flips(stored, count=500, seed=random.SystemRandom().randrange(1 << 32))
