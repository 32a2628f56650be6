# SPDX-License-Identifier: Apache-2.0
"""One node's container that is collected, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from magnetodb_backup.domain.backup.collection import ContainerUse, KnownManifest
from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.collect.collect import collect_container
from magnetodb_backup.repository.collect.look import Look
from magnetodb_backup.repository.collect.records import Caller, Terms
from magnetodb_backup.repository.format.names import FIRST_LOOK
from magnetodb_backup.repository.upload.file_index import FileIndex
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import HOST, ONE_BY_ONE, Disk, backup_id
from tests.unit.repository.stores import Store

GRACE = 100.0


class Depot:
    """A disk with backups, and what the catalogue knows of them; ``now`` is in seconds."""

    def __init__(self, root: Path, host_id: str = HOST) -> None:
        self.store = Store()
        self.disk = Disk(root, self.store, host_id)
        self.now = 1000.0
        self.known: dict[str, KnownManifest] = {}
        self._root = root

    def backup(self, number: int) -> None:
        """Upload the disk as a backup, commit it, and let the catalogue know it."""
        uploaded = self.disk.upload(number, **ONE_BY_ONE)
        commit(self.disk.cluster, number, {self.disk.host_id: uploaded})
        stored = uploaded.manifest
        known = KnownManifest(backup_id(number), stored.size, stored.sha256, required=True)
        self.known[known.backup_id] = known

    def delete(self, number: int) -> None:
        """Delete a backup, its manifests included."""
        self.known.pop(backup_id(number), None)
        self.disk.cluster.delete_backup(backup_id(number), [self.disk.host_id])

    def collect(
        self,
        *,
        own: bool = True,
        caller: Caller | None = None,
        absent: Iterable[str] = (),
        **terms: Any,
    ) -> ContainerUse:
        """Collect; ``own`` by the worker that uploads, else by another one."""
        values = {"known": self.known, "now": self.now, "grace": GRACE, **terms}
        index = FileIndex(self.disk.index_path) if own else None
        try:
            return collect_container(
                self.disk.repository,
                self.disk.cluster,
                index,
                Terms(absent=frozenset(absent), **values),
                spool_directory=self._root,
                caller=caller or Caller(),
                clock=lambda: 0.0,
            )
        finally:
            if index is not None:
                index.close()

    def later(self, seconds: float = GRACE) -> None:
        self.now += seconds

    def collect_twice(self, **values: Any) -> ContainerUse:
        """Look, let the grace period pass, and collect."""
        self.collect(**values)
        self.later()
        return self.collect(**values)

    def packs(self) -> set[str]:
        return set(self.disk.repository.packs())

    def packs_of(self, *numbers: int) -> set[str]:
        """Return the packs that these backups need."""
        return {
            extent.pack
            for number in numbers
            for entry in self.disk.entries(number).values()
            for extent in entry.extents
        }

    def first_look(self) -> dict[str, float]:
        """Return the stored first look."""
        from magnetodb_backup.repository.collect import first_look

        with Look() as look:
            first_look.load_first_look(self.disk.repository, look)
            return {
                bytes(pack).hex(): since
                for pack, since in look._db.execute("SELECT pack, since FROM earlier")
            }

    def has_first_look(self) -> bool:
        try:
            return bool(b"".join(self.store.read(self.disk.container, FIRST_LOOK)))
        except NotFound:
            return False

    def indexed(self) -> set[str]:
        """Return the packs that the worker's index has."""
        index = FileIndex(self.disk.index_path)
        found = set(index.recorded_packs())
        index.close()
        return found
