# SPDX-License-Identifier: Apache-2.0
"""The mark: reads every node manifest of a node, or refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.errors import CollectionRefused, CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.collect.live_extents import LiveExtents
from magnetodb_backup.repository.collect.look import Look
from magnetodb_backup.repository.collect.records import Caller, Terms
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from magnetodb_backup.repository.format.names import is_backup_id, node_manifest_name
from magnetodb_backup.repository.moves import Moves
from magnetodb_backup.repository.upload.file_index import FileIndex

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where the bytes of extents are, and what learns all extents, if they may be moved."""

    moves: Moves
    live: LiveExtents | None


class Marking:
    """Marks the packs that the node manifests of one node name, or to which those were moved.

    Which manifests there are is the union of what the store lists, what the catalogue knows, and
    what the worker's index has recorded: each of them may lag, or be lost. It makes no difference
    whether a backup manifest names them: that of a deleted backup can come back.
    """

    def __init__(
        self,
        cluster: ClusterRepository,
        host_id: str,
        terms: Terms,
        index: FileIndex | None,
        look: Look,
        caller: Caller,
        places: Places,
    ) -> None:
        self._moves, self._live = places.moves, places.live
        self.any_moved = False
        self._cluster, self._host_id, self._terms = cluster, host_id, terms
        self._index, self._look, self._caller = index, look, caller
        self._done: set[str] = set()

    def run(self) -> None:
        """Mark the packs of all manifests that are not read yet. It may be called again.

        :raises CollectionRefused: if it is not certain what a backup needs.
        """
        for backup_id in sorted(self._candidates() - self._done):
            self._caller.raise_if_cancelled()
            self._read(backup_id)
            self._done.add(backup_id)
            self._caller.get_on()

    def _candidates(self) -> set[str]:
        found = {id_ for id_ in self._cluster.ids_with_objects() if is_backup_id(id_)}
        found |= self._terms.known.keys()
        if self._index is not None:
            found |= self._index.manifests()
        return found

    def _read(self, backup_id: str) -> None:
        known = self._terms.known.get(backup_id)
        required = known is not None and known.required
        expected = None
        if known is not None and required and known.sha256:
            name = node_manifest_name(backup_id, self._host_id)
            expected = StoredObject(name, known.size, known.sha256)
        try:
            reader = self._cluster.original_node_manifest(backup_id, self._host_id, expected)
            self._look.mark(self._owner(backup_id), self._packs(reader, backup_id))
        except NotFound:
            if required or self._is_named(backup_id):
                raise self._refusal(backup_id, "its node manifest is missing") from None
            if self._index is not None and not self._terms.report_only:
                self._index.forget_manifest(backup_id)
        except (FormatProblem, CorruptObject) as error:
            raise self._refusal(backup_id, str(error)) from None

    def _owner(self, backup_id: str) -> str:
        together = self._terms.together
        return min(together) if backup_id in together else backup_id

    def _packs(self, reader: NodeManifestReader, backup_id: str) -> Iterator[str]:
        header = reader.header
        if (header.backup_id, header.host_id) != (backup_id, self._host_id):
            raise FormatProblem(
                f"its node manifest is that of node {header.host_id} in backup {header.backup_id}"
            )
        for entry in reader:
            for extent in entry.extents:
                now = self._moves.now(extent)
                self.any_moved = self.any_moved or now != extent
                if self._live is not None:
                    self._live.add(extent, now)
                yield now.pack

    def _is_named(self, backup_id: str) -> bool:
        """Return whether the backup manifest of a backup names a manifest of this node.

        The catalogue answers for the backups that it knows.
        """
        if backup_id in self._terms.absent or backup_id in self._terms.known:
            return False
        try:
            manifest = self._cluster.read_backup(backup_id)
        except NotFound:
            return False
        return any(share.host_id == self._host_id for share in manifest.nodes)

    def _refusal(self, backup_id: str, reason: str) -> CollectionRefused:
        return CollectionRefused(
            f"no pack of node {self._host_id} is removed, because it is not certain which ones "
            f"backup {backup_id} needs: {reason}; look at the store, or delete this backup, then "
            "repeat the collection"
        )
