# SPDX-License-Identifier: Apache-2.0
"""Two nodes that back up into an emulated store, and a model of what the store must still have.

The model knows nothing of packs but their names: what a backup needs is read from its node
manifests once, when it is committed, and from then on every byte of it has to be in the store,
unless the test itself took it away behind the service's back (``behind``), until the backup is
destroyed. That of a deleted one can come back.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from magnetodb_backup.domain.backup.manifest import FileEntry
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings, download_node
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.repository.format.names import (
    cluster_container,
    manifest_name,
    node_container,
    pack_name,
)
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.upload import EarlierBackups
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.worker.tasks import TaskContext
from tests.lab.emulator.store import EmulatedStore, Killed
from tests.property.repository_catalogue import Catalogue, Record, Status
from tests.property.repository_parts import Parts
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, HOST, ONE_BY_ONE, PREFIX, Disk, backup_id

HOSTS = (HOST, "22222222-2222-4222-8222-222222222222")
CONTAINER = cluster_container(PREFIX, CLUSTER)
_PATIENCE = 3600.0  # seconds by the emulated clock; longer than any storm
Pack = tuple[str, str]  # host ID and SHA-256
Kill = tuple[int, bool]  # the number of a write, and whether that is executed
Request = tuple[str, int]  # a method, and the number of a request with it


@dataclass(frozen=True)
class Saved:
    """A committed backup: the bytes of each node's files, and what the store must have of it.

    ``entries`` and ``sizes`` are of where the bytes are now; the manifests have ``originals``.
    """

    number: int
    contents: Mapping[str, Mapping[str, bytes]]
    originals: Mapping[str, Sequence[FileEntry]]
    entries: Mapping[str, Mapping[str, FileEntry]]
    sizes: Mapping[Pack, int]  # of each pack that it needs
    identities: Mapping[str, Mapping[str, tuple[int, int, int]]]
    manifest_sha256: str
    at: float  # seconds

    def packs(self) -> set[Pack]:
        return set(self.sizes)


@dataclass
class Death:
    """Whether a process was killed."""

    killed: bool = False


class World:
    """The nodes' disks, the store, and the model."""

    def __init__(self, root: Path, parts: Parts) -> None:
        self._root = root
        self.raw = MemoryDriver()  # the truth, which no fault hides
        self.store = EmulatedStore(self.raw)
        clock = self.store.clock
        self.driver = Retrying(self.store, deadline=_PATIENCE, clock=clock.now, sleep=clock.sleep)
        self.disks = {h: Disk(root, cast(Any, self.driver), h) for h in HOSTS}
        self.containers = {h: parts.containers(root) for h in HOSTS}  # of each node's worker
        for host, disk in self.disks.items():
            disk.index_path = root / f"files-{host}.sqlite"
        self.cluster = ClusterRepository(self.driver, PREFIX, CLUSTER)
        self.catalogue = Catalogue()
        self.saved: dict[int, Saved] = {}  # each backup that was ever committed
        self.backups: dict[int, Saved] = {}  # those that exist
        self.deleted: dict[int, Saved] = {}  # those that can exist again
        self.behind: dict[Pack, str] = {}  # what was done to a pack behind the service's back
        self.full_sizes: dict[Pack, int] = {}  # of these packs, before
        self.reported: set[Pack] = set()  # found by a verification, and not stored again since
        self.number = 0  # of the newest backup, finished or not
        self.fresh = dict.fromkeys(HOSTS, False)  # is the index that of the newest
        # Called before each request with method, container and name.
        self.watchers: list[Callable[[str, str, str], None]] = []
        self._interruption: tuple[Request, Callable[[], None]] | None = None
        self._counting = threading.Lock()
        self.store.on_request = self._on_request
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
        self.fresh[host] = False

    def _index_files(self, host: str) -> list[Path]:
        path = self.disks[host].index_path
        return sorted(path.parent.glob(f"{path.name}*"))

    def identities(self, host: str) -> dict[str, tuple[int, int, int]]:
        found = {}
        for path in self.disks[host].root.iterdir():
            status = path.stat()
            found[path.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    # What the service does.

    def back_up(
        self,
        *,
        killed_at: Kill | None = None,
        keep_index: bool = True,
        repeat: bool = False,
        with_catalogue: bool = True,
    ) -> bool:
        """Back up both nodes; return whether the backup was committed.

        ``killed_at`` is the number of a write, and whether that is executed. The index loses its
        last changes in the crash unless it is to be kept. A backup that was killed is repeated
        under the same ID if ``repeat`` is set.
        """
        if not repeat or self._is_finished(self.number):
            self.number += 1
        number, before = self.number, self.copied_indexes()
        record = self.catalogue.records.setdefault(number, Record())
        expected = {h: disk.contents() for h, disk in self.disks.items()}
        identities = {h: self.identities(h) for h in HOSTS}
        with self.dying(killed_at) as death:
            self._upload_and_commit(number, record, with_catalogue)
        if death.killed and not keep_index:
            self.put_back_indexes(before)
        self.fresh = dict.fromkeys(HOSTS, not death.killed)
        if self.raw.head(CONTAINER, manifest_name(backup_id(number))) is None:
            assert death.killed, "a finished backup has no manifest"
            return False
        self.saved[number] = self._saved(number, expected, identities)
        self.settle(number)
        if not death.killed:
            record.status, record.sha256 = Status.CREATED, self.saved[number].manifest_sha256
        return True

    def _is_finished(self, number: int) -> bool:
        record = self.catalogue.records.get(number)
        return record is None or record.status is not Status.CREATING or number in self.saved

    def _upload_and_commit(self, number: int, record: Record, with_catalogue: bool) -> None:
        known = self.catalogue.newest(10) if with_catalogue else ()
        uploads = {}
        for host, disk in self.disks.items():
            distrusted = frozenset(pack for h, pack in self.reported if h == host)
            disk.repository.ensure()  # its container may have been removed
            with self.containers[host].hold(host, TaskContext()):
                uploads[host] = disk.upload(
                    number, earlier=EarlierBackups(known, distrusted), **ONE_BY_ONE
                )
            record.manifests[host] = uploads[host].manifest
        commit(self.cluster, number, uploads)
        self.reported -= {(h, pack) for h, done in uploads.items() for pack in done.replaced}

    def copied_indexes(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for host in HOSTS for path in self._index_files(host)}

    def put_back_indexes(self, files: Mapping[Path, bytes]) -> None:
        for host in HOSTS:
            for path in self._index_files(host):
                path.unlink()
        for path, content in files.items():
            path.write_bytes(content)

    def _saved(self, number: int, contents: Any, identities: Any) -> Saved:
        cluster = ClusterRepository(self.raw, PREFIX, CLUSTER)
        originals = {
            host: tuple(cluster.original_node_manifest(backup_id(number), host)) for host in HOSTS
        }
        entries, sizes = self._located(originals)
        _, stored = cluster.read_commit(backup_id(number))
        return Saved(
            number, contents, originals, entries, sizes, identities, stored.sha256, self.now()
        )

    def _located(
        self, originals: Mapping[str, Sequence[FileEntry]]
    ) -> tuple[dict[str, dict[str, FileEntry]], dict[Pack, int]]:
        """Return where the bytes of files are now, and the packs that this takes."""
        cluster = ClusterRepository(self.raw, PREFIX, CLUSTER)
        entries, sizes = {}, dict[Pack, int]()
        for host, files in originals.items():
            entries[host] = {e.name: e for e in cluster.moves(host).located(iter(files))}
            for extent in (e for entry in entries[host].values() for e in entry.extents):
                end = extent.offset + extent.length
                sizes[host, extent.pack] = max(end, sizes.get((host, extent.pack), 0))
        return entries, sizes

    def relocate(self) -> None:
        """Follow a repacking: backups need other packs from now on."""
        for number, saved in self.saved.items():
            entries, sizes = self._located(saved.originals)
            moved = replace(saved, entries=entries, sizes=sizes)
            for kind in (self.saved, self.backups, self.deleted):
                if number in kind:
                    kind[number] = moved

    def settle(self, number: int) -> None:
        """Note by what the store has whether a committed backup exists, or can exist again."""
        self.backups.pop(number, None)
        self.deleted.pop(number, None)
        if number not in self.saved:
            return
        if self.raw.head(CONTAINER, manifest_name(backup_id(number))) is not None:
            self.backups[number] = self.saved[number]
        elif not self.catalogue.records[number].doomed:
            self.deleted[number] = self.saved[number]

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

    # Time, death, and what happens at the same time.

    def now(self) -> float:
        """Return the seconds of the emulated clock."""
        return self.store.clock.now()

    @contextlib.contextmanager
    def dying(self, at: Kill | None) -> Iterator[Death]:
        """Let the process that runs the block die at a write; another one may follow."""
        if at is not None:
            self.store.kill_at(at[0], stored=at[1])
        death = Death()
        with contextlib.suppress(Killed):
            yield death
        death.killed = self.store.revive()

    @contextlib.contextmanager
    def beside(
        self, request: Request, hosts: Iterable[str], work: Callable[[], object]
    ) -> Iterator[None]:
        """Do ``work`` before this request of the block, or after it if it has to wait.

        It has to wait while the container of one of the ``hosts`` is in use.
        """
        waits = True

        def interrupt() -> None:
            nonlocal waits
            if not any(self.containers[host].is_held(host) for host in hosts):
                waits = False
                work()

        self._interruption = (request, interrupt)
        try:
            yield
        finally:
            self._interruption = None
        if waits:
            work()

    def _on_request(self, method: str, container: str, name: str) -> None:
        for watcher in self.watchers:
            watcher(method, container, name)
        with self._counting:
            if self._interruption is None or self._interruption[0][0] != method:
                return
            (_, left), work = self._interruption
            self._interruption = ((method, left - 1), work) if left else None
        if not left:
            work()

    # What happens behind the service's back.

    def stored_packs(self) -> list[Pack]:
        """Return all packs that the store has, in order."""
        return [
            (host, info.name.rpartition("/")[2])
            for host in HOSTS
            for info in self.raw.list(node_container(PREFIX, CLUSTER, host), "packs/")
        ]

    def harm(self, pack: Pack, how: str) -> None:
        """Take a pack away, for good or but for its entry in the listing; cut or change it."""
        container, name = node_container(PREFIX, CLUSTER, pack[0]), pack_name(pack[1])
        info = self.raw.head(container, name)
        assert info is not None
        self.full_sizes[pack] = info.size
        if how in ("lost", "ghost"):
            self.store.lose(container, name, listed=how == "ghost")
        elif how == "cut":
            self.store.change(container, name, lambda body: body[:-1])
        else:
            self.store.change(container, name, lambda body: bytes([body[0] ^ 1]) + body[1:])
        self.behind[pack] = how

    # What the store has.

    def is_whole(self, pack: Pack) -> bool:
        """Return whether the store has the bytes of a pack."""
        container, name = node_container(PREFIX, CLUSTER, pack[0]), pack_name(pack[1])
        if self.raw.head(container, name) is None:
            return False
        body = b"".join(self.raw.read(container, name))
        return hashlib.sha256(body).hexdigest() == pack[1]

    def needed(self, host: str) -> set[str]:
        """Return the packs of a node that a backup needs, or a deleted one that can come back."""
        every = (*self.backups.values(), *self.deleted.values())
        return {pack for saved in every for h, pack in saved.packs() if h == host}
