# SPDX-License-Identifier: Apache-2.0
"""What must be true of a world after any history."""

from __future__ import annotations

from collections.abc import Iterator

from magnetodb_backup.errors import CorruptObject
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.format.names import (
    deleted_manifest_name,
    node_container,
    node_manifest_name,
    pack_name,
)
from tests.property.repository_world import CONTAINER, Pack, Saved, World
from tests.unit.repository.disk import CLUSTER, PREFIX, backup_id


class Promises:
    """Checks that raise AssertionError."""

    def __init__(self, world: World) -> None:
        self._world = world

    def harmed(self, saved: Saved) -> dict[Pack, str]:
        """Return the packs of a backup that are not whole, and what was done to them."""
        return {p: how for p, how in self._world.behind.items() if p in saved.sizes}

    def check_store(self) -> None:
        """Require all that backups need, except what the test took away itself."""
        world = self._world
        for pack in [p for p in world.behind if world.is_whole(p)]:
            del world.behind[pack]
        for saved in (*world.backups.values(), *world.deleted.values()):
            lost = {p for p in saved.packs() - world.behind.keys() if not world.is_whole(p)}
            assert lost == set(), f"backup {saved.number} needs packs that are gone: {lost}"
            self._check_manifests(saved)

    def _check_manifests(self, saved: Saved) -> None:
        cluster, id_ = ClusterRepository(self._world.raw, PREFIX, CLUSTER), backup_id(saved.number)
        if saved.number in self._world.deleted:
            deleted = cluster.read_deleted(id_)
            manifest, sha256 = deleted.parsed(deleted_manifest_name(id_)), deleted.sha256
        else:
            manifest, stored = cluster.read_commit(id_)
            sha256 = stored.sha256
        assert sha256 == saved.manifest_sha256
        assert cluster.digest_schema(id_) == manifest.schema
        for share in manifest.nodes:
            name = node_manifest_name(id_, share.host_id)
            assert self._world.raw.head(CONTAINER, name) is not None, f"{name} is gone"
            assert cluster.digest_node_manifest(id_, share.host_id) == share.manifest

    def check_verification(self, number: int, *, read_data: bool) -> None:
        """Require that a verification reports the harmed packs, and nothing else."""
        self.check_store()
        harmed = self.harmed(saved := self._world.backups[number])
        if not read_data:
            harmed = {p: how for p, how in harmed.items() if self._is_seen(p, how, saved)}
        report = self._world.verify(number, read_data=read_data)
        assert {(p.host_id, p.pack) for p in report.problems} == set(harmed), report.problems
        assert report.problem_count == len(harmed)

    def _is_seen(self, pack: Pack, how: str, saved: Saved) -> bool:
        """Return whether a HEAD request shows the harm: the pack is missing or too short."""
        info = self._world.raw.head(node_container(PREFIX, CLUSTER, pack[0]), pack_name(pack[1]))
        return info is None or info.size < saved.sizes[pack]

    def check_restore(self, number: int, host: str) -> None:
        """Require the exact bytes; a backup that was harmed may be refused instead."""
        self.check_store()
        saved = self._world.backups[number]
        harmed = any(h == host for h, _ in self.harmed(saved))
        try:
            found = self._world.restore(number, host)
        except CorruptObject:
            assert harmed, f"backup {number} is whole, and cannot be restored"
            return
        assert found == saved.contents[host]

    def must_be_healed(self) -> Iterator[Pack]:
        """Yield the packs that the next backup has to store again, for older backups too.

        Those are the packs of the newest backup whose harm is known and whose bytes are still on
        the disk, in files that are the very ones of that backup, as the index knows.
        """
        newest = max(self._world.backups, default=0)
        if newest != self._world.number or newest == 0:
            return
        saved = self._world.backups[newest]
        for (host, pack), how in self.harmed(saved).items():
            known = how in ("lost", "ghost") or (host, pack) in self._world.reported
            if known and self._world.fresh[host] and self._is_on_disk(saved, host, pack):
                yield host, pack

    def _is_on_disk(self, saved: Saved, host: str, pack: str) -> bool:
        present = self._world.identities(host)
        kept = [n for n, identity in saved.identities[host].items() if present.get(n) == identity]
        covered = {
            offset
            for name in kept
            for e in saved.entries[host][name].extents
            if e.pack == pack
            for offset in range(e.offset, e.offset + e.length)
        }
        # Other backups, also unfinished and deleted ones, may have more in it than the newest one.
        return len(covered) == self._world.full_sizes[host, pack]

    def check_new_backup(self, number: int, reported: set[Pack]) -> None:
        """Require that a new backup needs no pack that is known to be harmed, or is missing."""
        self.check_store()
        for pack, how in self.harmed(self._world.backups[number]).items():
            assert how in ("changed", "cut"), f"backup {number} needs {pack}, which is {how}"
            assert pack not in reported, f"backup {number} needs {pack}, reported as damaged"
