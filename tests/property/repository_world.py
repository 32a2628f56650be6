# SPDX-License-Identifier: Apache-2.0
"""Two nodes that back up into an emulated store, and a model of what the store must still have.

The model knows nothing of packs but their names: what a backup needs is read from its node
manifests once, when it is committed, and from then on every byte of it has to be in the store,
unless the test itself took it away behind the service's back (``behind``).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.domain.backup.records import CommittedBackup
from magnetodb_backup.errors import CorruptObject
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings, download_node
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.repository.format.names import (
    cluster_container,
    manifest_name,
    node_container,
    node_manifest_name,
    pack_name,
)
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.upload import EarlierBackups
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.retrying import Retrying
from tests.lab.emulator.store import EmulatedStore, Killed
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, HOST, ONE_BY_ONE, PREFIX, Disk, backup_id

HOSTS = (HOST, "22222222-2222-4222-8222-222222222222")
CONTAINER = cluster_container(PREFIX, CLUSTER)
_PATIENCE = 3600.0  # seconds by the emulated clock; longer than any storm
_PACK = tuple[str, str]  # host ID and SHA-256


@dataclass(frozen=True)
class Saved:
    """A committed backup: the bytes of each node's files, and what the store must have of it."""

    number: int
    contents: Mapping[str, Mapping[str, bytes]]
    entries: Mapping[str, Mapping[str, FileEntry]]
    sizes: Mapping[_PACK, int]  # of each pack that it needs
    identities: Mapping[str, Mapping[str, tuple[int, int, int]]]
    manifest_sha256: str

    def packs(self) -> set[_PACK]:
        return set(self.sizes)


class World:
    """The nodes' disks, the store, and the model."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.raw = MemoryDriver()  # the truth, which no fault hides
        self.store = EmulatedStore(self.raw)
        clock = self.store.clock
        self.driver = Retrying(self.store, deadline=_PATIENCE, clock=clock.now, sleep=clock.sleep)
        self.disks = {h: Disk(root, cast(Any, self.driver), h) for h in HOSTS}
        self.cluster = ClusterRepository(self.driver, PREFIX, CLUSTER)
        self.backups: dict[int, Saved] = {}
        self.behind: dict[_PACK, str] = {}  # what was done to a pack behind the service's back
        self._full_sizes: dict[_PACK, int] = {}  # of the packs in ``behind``, before
        self.reported: set[_PACK] = set()  # found by a verification, and not stored again since
        self._number = 0
        self._acknowledged: list[int] = []  # what the catalogue knows, the newest first
        self._fresh: dict[str, bool] = dict.fromkeys(
            HOSTS, False
        )  # is the index that of the newest
        self._times = itertools.count(1_700_000_000_000_000_007, 1_000_003)
        self._restores = itertools.count()

    # A node's files.

    def write(self, host: str, name: str, content: bytes, *, in_place: bool) -> None:
        """Write a file, as a new one or over the old one."""
        path = self.disks[host].root / name
        if not in_place:
            path.unlink(missing_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(time := next(self._times), time))

    def drop(self, host: str, name: str) -> None:
        (self.disks[host].root / name).unlink(missing_ok=True)

    def lose_index(self, host: str) -> None:
        for path in self._index_files(host):
            path.unlink()
        self._fresh[host] = False

    def _index_files(self, host: str) -> list[Path]:
        path = self.disks[host].index_path
        return sorted(path.parent.glob(f"{path.name}*"))

    def _identities(self, host: str) -> dict[str, tuple[int, int, int]]:
        found = {}
        for path in self.disks[host].root.iterdir():
            status = path.stat()
            found[path.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    # What the service does.

    def back_up(
        self,
        *,
        killed_at: tuple[int, bool] | None = None,
        keep_index: bool = True,
        repeat: bool = False,
        with_catalogue: bool = True,
    ) -> bool:
        """Back up both nodes; return whether the backup was committed.

        ``killed_at`` is the number of a write, and whether that is executed. The index loses its
        last changes in the crash unless it is to be kept. A backup that was killed is repeated
        under the same ID if ``repeat`` is set.
        """
        if not repeat or self._number in self.backups or self._number == 0:
            self._number += 1
        number, before = self._number, self._copied_indexes()
        expected = {h: disk.contents() for h, disk in self.disks.items()}
        identities = {h: self._identities(h) for h in HOSTS}
        if killed_at is not None:
            self.store.kill_at(killed_at[0], stored=killed_at[1])
        with contextlib.suppress(Killed):
            self._upload_and_commit(number, with_catalogue)
        killed = self.store.revive()
        if killed and not keep_index:
            self._put_back(before)
        self._fresh = dict.fromkeys(HOSTS, not killed)
        if self.raw.head(CONTAINER, manifest_name(backup_id(number))) is None:
            assert killed, "a finished backup has no manifest"
            return False
        self.backups[number] = self._saved(number, expected, identities)
        if not killed:
            self._acknowledged.insert(0, number)
        return True

    def _upload_and_commit(self, number: int, with_catalogue: bool) -> None:
        known = tuple(
            CommittedBackup(backup_id(n), self.backups[n].manifest_sha256)
            for n in self._acknowledged[:10]
        )
        uploads = {}
        for host, disk in self.disks.items():
            earlier = EarlierBackups(
                known if with_catalogue else (),
                frozenset(pack for h, pack in self.reported if h == host),
            )
            uploads[host] = disk.upload(number, earlier=earlier, **ONE_BY_ONE)
        commit(self.cluster, number, uploads)
        self.reported -= {(h, pack) for h, done in uploads.items() for pack in done.replaced}

    def _copied_indexes(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for host in HOSTS for path in self._index_files(host)}

    def _put_back(self, files: Mapping[Path, bytes]) -> None:
        for host in HOSTS:
            for path in self._index_files(host):
                path.unlink()
        for path, content in files.items():
            path.write_bytes(content)

    def _saved(self, number: int, contents: Any, identities: Any) -> Saved:
        cluster = ClusterRepository(self.raw, PREFIX, CLUSTER)
        entries, sizes = {}, dict[_PACK, int]()
        for host in HOSTS:
            entries[host] = {e.name: e for e in cluster.node_manifest(backup_id(number), host)}
            for extent in (e for entry in entries[host].values() for e in entry.extents):
                end = extent.offset + extent.length
                sizes[host, extent.pack] = max(end, sizes.get((host, extent.pack), 0))
        _, stored = cluster.read_commit(backup_id(number))
        return Saved(number, contents, entries, sizes, identities, stored.sha256)

    def delete(self, number: int, killed_at: tuple[int, bool] | None = None) -> None:
        """Delete a backup; until its manifest is gone, it has to be whole."""
        if killed_at is not None:
            self.store.kill_at(killed_at[0], stored=killed_at[1])
        with contextlib.suppress(Killed):
            self.cluster.delete_backup(backup_id(number), HOSTS)
        killed = self.store.revive()
        if self.raw.head(CONTAINER, manifest_name(backup_id(number))) is None:
            del self.backups[number]
            self._acknowledged = [n for n in self._acknowledged if n != number]
        else:
            assert killed, "a deleted backup has a manifest"

    def verify(self, number: int, *, read_data: bool) -> VerificationReport:
        """Verify a backup; the next backup is informed of the packs that are reported."""
        report = verify_backup(
            self.cluster,
            lambda host: NodeRepository(self.driver, PREFIX, CLUSTER, host),
            backup_id(number),
            manifest_sha256=self.backups[number].manifest_sha256,
            read_data=read_data,
            progress=lambda *_: None,
            raise_if_cancelled=lambda: None,
        )
        self.reported |= {(p.host_id, p.pack) for p in report.problems if p.pack}
        return report

    def restore(self, number: int, host: str) -> dict[str, bytes]:
        """Return the bytes that a download stages; raises what that raises."""
        target = self._root / f"restore-{next(self._restores)}"
        try:
            download_node(
                NodeRepository(self.driver, PREFIX, CLUSTER, host),
                lambda: self.cluster.node_manifest(
                    backup_id(number), host, self._share(number, host)
                ),
                lambda entry: target / "files" / entry.name,
                journal=target.with_suffix(".journal"),
                settings=DownloadSettings(concurrency=1),
                progress=lambda _: None,
                raise_if_cancelled=lambda: None,
            )
            found = (target / "files").iterdir() if target.exists() else iter(())
            return {path.name: path.read_bytes() for path in found}
        finally:
            shutil.rmtree(target, ignore_errors=True)
            target.with_suffix(".journal").unlink(missing_ok=True)

    def _share(self, number: int, host: str) -> Any:
        manifest = self.cluster.read_backup(backup_id(number))
        return next(share.manifest for share in manifest.nodes if share.host_id == host)

    # What happens behind the service's back.

    def stored_packs(self) -> list[_PACK]:
        """Return all packs that the store has, in order."""
        return [
            (host, info.name.rpartition("/")[2])
            for host in HOSTS
            for info in self.raw.list(node_container(PREFIX, CLUSTER, host), "packs/")
        ]

    def harm(self, pack: _PACK, how: str) -> None:
        """Take a pack away, for good or but for its entry in the listing; cut or change it."""
        container, name = node_container(PREFIX, CLUSTER, pack[0]), pack_name(pack[1])
        info = self.raw.head(container, name)
        assert info is not None
        self._full_sizes[pack] = info.size
        if how in ("lost", "ghost"):
            self.store.lose(container, name, listed=how == "ghost")
        elif how == "cut":
            self.store.change(container, name, lambda body: body[:-1])
        else:
            self.store.change(container, name, lambda body: bytes([body[0] ^ 1]) + body[1:])
        self.behind[pack] = how

    # What must be true.

    def is_whole(self, pack: _PACK) -> bool:
        """Return whether the store has the bytes of a pack."""
        container, name = node_container(PREFIX, CLUSTER, pack[0]), pack_name(pack[1])
        if self.raw.head(container, name) is None:
            return False
        body = b"".join(self.raw.read(container, name))
        return hashlib.sha256(body).hexdigest() == pack[1]

    def harmed(self, saved: Saved) -> dict[_PACK, str]:
        """Return the packs of a backup that are not whole, and what was done to them."""
        return {p: how for p, how in self.behind.items() if p in saved.sizes}

    def check_store(self) -> None:
        """Require all that backups need, but for what was taken away behind the service's back."""
        for pack in [p for p in self.behind if self.is_whole(p)]:
            del self.behind[pack]
        for saved in self.backups.values():
            lost = {p for p in saved.packs() - self.behind.keys() if not self.is_whole(p)}
            assert lost == set(), f"backup {saved.number} needs packs that are gone: {lost}"
            cluster = ClusterRepository(self.raw, PREFIX, CLUSTER)
            manifest, stored = cluster.read_commit(backup_id(saved.number))
            assert stored.sha256 == saved.manifest_sha256
            assert cluster.digest_schema(backup_id(saved.number)) == manifest.schema
            for share in manifest.nodes:
                name = node_manifest_name(backup_id(saved.number), share.host_id)
                assert self.raw.head(CONTAINER, name) is not None, f"{name} is gone"
                found = cluster.digest_node_manifest(backup_id(saved.number), share.host_id)
                assert found == share.manifest

    def check_verification(self, number: int, *, read_data: bool) -> None:
        """Require that a verification reports the harmed packs, and nothing else."""
        self.check_store()
        harmed = self.harmed(saved := self.backups[number])
        if not read_data:
            harmed = {p: how for p, how in harmed.items() if self._is_seen(p, how, saved)}
        report = self.verify(number, read_data=read_data)
        assert {(p.host_id, p.pack) for p in report.problems} == set(harmed), report.problems
        assert report.problem_count == len(harmed)

    def _is_seen(self, pack: _PACK, how: str, saved: Saved) -> bool:
        """Return whether a HEAD request shows the harm: the pack is missing or too short."""
        info = self.raw.head(node_container(PREFIX, CLUSTER, pack[0]), pack_name(pack[1]))
        return info is None or info.size < saved.sizes[pack]

    def check_restore(self, number: int, host: str) -> None:
        """Require the exact bytes; a backup that was harmed may be refused instead."""
        self.check_store()
        saved = self.backups[number]
        harmed = any(h == host for h, _ in self.harmed(saved))
        try:
            found = self.restore(number, host)
        except CorruptObject:
            assert harmed, f"backup {number} is whole, and cannot be restored"
            return
        assert found == saved.contents[host]

    def must_be_healed(self) -> Iterator[_PACK]:
        """Yield the packs that the next backup has to store again, for older backups too.

        Those are the packs of the newest backup whose harm is known and whose bytes are still on
        the disk, in files that are the very ones of that backup, as the index knows.
        """
        newest = max(self.backups, default=0)
        if newest != self._number or newest == 0:
            return
        saved = self.backups[newest]
        for (host, pack), how in self.harmed(saved).items():
            known = how in ("lost", "ghost") or (host, pack) in self.reported
            if known and self._fresh[host] and self._is_on_disk(saved, host, pack):
                yield host, pack

    def _is_on_disk(self, saved: Saved, host: str, pack: str) -> bool:
        present = self._identities(host)
        kept = [n for n, identity in saved.identities[host].items() if present.get(n) == identity]
        covered = {
            offset
            for name in kept
            for e in saved.entries[host][name].extents
            if e.pack == pack
            for offset in range(e.offset, e.offset + e.length)
        }
        # Other backups, also unfinished and deleted ones, may have more in it than the newest one.
        return len(covered) == self._full_sizes[host, pack]

    def check_new_backup(self, number: int, reported: set[_PACK]) -> None:
        """Require that a new backup needs no pack that is known to be harmed, or is missing."""
        self.check_store()
        for pack, how in self.harmed(self.backups[number]).items():
            assert how in ("changed", "cut"), f"backup {number} needs {pack}, which is {how}"
            assert pack not in reported, f"backup {number} needs {pack}, reported as damaged"
