# SPDX-License-Identifier: Apache-2.0
"""The records of repository format 1: node manifests and the backup manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magnetodb_backup.domain.partitioners import MURMUR3, partitioner_of

FORMAT = 1
# A feature of backups: not all data centres took part.
DATA_CENTERS = "data_centers"
FEATURES = (DATA_CENTERS,)
# Members that are left out of a backup manifest if they are empty.
_LISTS = ("missing_ring", "figures", "features", "data_centers", "other_nodes")


@dataclass(frozen=True)
class Extent:
    """``length`` bytes at ``offset`` of the pack whose stored bytes have this SHA-256 (hex)."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True)
class SnapshotFile:
    """One hard link of a snapshot on the node's disk.

    ``data_directory`` is the index in the list of data directories; ``index`` the secondary
    index whose directory holds the file, or None. ``place``, ``inode``, ``size`` (bytes) and
    ``mtime_ns`` are the file's identity.
    """

    keyspace: str
    table: str
    table_id: str
    index: str | None
    data_directory: int
    name: str
    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def place(self) -> str:
        """The directory of the table; all files below it are on one file system.

        Unlike the device it is the same after the machine has started again.
        """
        table, found, _ = self.path.rpartition("/snapshots/")
        return table if found else self.path.rpartition("/")[0]

    @property
    def is_of_snapshot(self) -> bool:
        """True for files that Cassandra writes for each snapshot: no other snapshot has them."""
        return self.index is None and self.name in ("manifest.json", "schema.cql")


@dataclass(frozen=True)
class FileEntry:
    """One line of a node manifest: a file of the snapshot and the extents of its bytes.

    ``sha256`` is of the whole file; ``crc32`` is the value in Digest.crc32, for Data.db;
    ``corrupt`` is true when the bytes did not match it. Extents are in file order; an empty
    file has none.
    """

    keyspace: str
    table: str
    table_id: str
    index: str | None
    data_directory: int
    name: str
    size: int
    mtime_ns: int
    sha256: str
    crc32: int | None
    extents: tuple[Extent, ...]
    corrupt: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the line's members; ``corrupt`` only where it is true."""
        data = asdict(self)
        data["extents"] = [[e.pack, e.offset, e.length] for e in self.extents]
        if not self.corrupt:
            del data["corrupt"]
        return data


@dataclass(frozen=True)
class NodeManifestHeader:
    """First line of a node manifest. Times are ISO 8601 in UTC."""

    backup_id: str
    cluster: str
    host_id: str
    address: str
    dc: str
    rack: str
    version: str
    tokens: tuple[int, ...]
    data_directories: tuple[str, ...]
    snapshot_tag: str
    snapshot_started_at: str
    snapshot_finished_at: str

    def as_json(self) -> dict[str, Any]:
        """Return the line's members; tokens as text, since they have 64 bits."""
        return {
            "format": FORMAT,
            **asdict(self),
            "tokens": [str(t) for t in self.tokens],
            "data_directories": list(self.data_directories),
        }


@dataclass(frozen=True)
class NodeManifestTrailer:
    """Last line of a node manifest: the totals of a complete one."""

    files: int
    bytes: int
    corrupt_files: int


@dataclass(frozen=True)
class StoredObject:
    """An object in a container: its name, size in bytes and SHA-256 (hex)."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class NodeShare:
    """A node backup as the backup manifest names it."""

    host_id: str
    address: str
    dc: str
    rack: str
    version: str
    tokens: tuple[int, ...]
    manifest: StoredObject
    files: int
    bytes: int
    corrupt_files: int
    snapshot_started_at: str
    snapshot_finished_at: str

    def as_json(self) -> dict[str, Any]:
        """Return the node's members; tokens as text."""
        return {**asdict(self), "tokens": [str(t) for t in self.tokens]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NodeShare:
        """Read what ``as_json()`` returned; Python's own errors for anything else."""
        return cls(
            **{
                **data,
                "tokens": tuple(int(t) for t in data["tokens"]),
                "manifest": StoredObject(**data["manifest"]),
            }
        )


@dataclass(frozen=True)
class MissingNode:
    """A ring member that took no part; without place and tokens from releases that kept none."""

    host_id: str
    dc: str = ""
    rack: str = ""
    tokens: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the node's members; tokens as text."""
        return {**asdict(self), "tokens": [str(t) for t in self.tokens]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MissingNode:
        """Read what ``as_json()`` returned; Python's own errors for anything else."""
        return cls(**{**data, "tokens": tuple(int(t) for t in data["tokens"])})


@dataclass(frozen=True)
class BackupManifest:
    """The commit of a backup. ``coverage`` is per keyspace; ``skew_ms`` is in milliseconds.

    ``status`` is CREATED or PARTIAL; ``selection`` is ``Selection.as_json()``. ``figures`` are the
    objects with fingerprints, if any. ``missing_ring`` has the places of ``missing_nodes``.
    ``partitioner`` is the name of its class without the package; empty from older releases.
    ``data_centers`` are those whose nodes were to take part, empty for all; ``other_nodes`` are the
    ring members of the other ones.
    """

    backup_id: str
    name: str
    cluster: str
    status: str
    created_at: str
    committed_at: str
    scope: Mapping[str, Any]
    selection: Mapping[str, Any]
    schema: StoredObject
    schema_version: str
    skew_ms: int
    coverage: Mapping[str, Any]
    nodes: tuple[NodeShare, ...]
    missing_nodes: tuple[str, ...] = ()
    missing_ring: tuple[MissingNode, ...] = ()
    figures: tuple[StoredObject, ...] = ()
    partitioner: str = ""
    data_centers: tuple[str, ...] = ()
    other_nodes: tuple[MissingNode, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """What a reader must know to understand this backup."""
        return (DATA_CENTERS,) if self.data_centers else ()

    def as_json(self) -> dict[str, Any]:
        """Return the stored document; optional members only if they are not empty.

        Nor is the partitioner in it where tokens show that it is Cassandra's default: releases
        that do not know the member can read the manifests of most clusters.
        """
        data = {
            "format": FORMAT,
            **{k: getattr(self, k) for k in self.__dataclass_fields__},
            "schema": asdict(self.schema),
            "nodes": [n.as_json() for n in self.nodes],
            "missing_nodes": list(self.missing_nodes),
            "missing_ring": [n.as_json() for n in self.missing_ring],
            "figures": [asdict(f) for f in self.figures],
            "features": list(self.features),
            "data_centers": list(self.data_centers),
            "other_nodes": [n.as_json() for n in self.other_nodes],
        }
        for optional in (*_LISTS, "partitioner"):
            if not data[optional]:
                del data[optional]
        if self.partitioner == self._partitioner_of_tokens() == MURMUR3.name:
            del data["partitioner"]
        return data

    def found_partitioner(self) -> str:
        """Return the name of the partitioner, by the tokens if need be; empty if it is unknown."""
        return self.partitioner or self._partitioner_of_tokens()

    def _partitioner_of_tokens(self) -> str:
        absent = (*self.missing_ring, *self.other_nodes)
        places = [node.tokens for node in self.nodes] + [node.tokens for node in absent]
        return partitioner_of(token for tokens in places for token in tokens)

    def missing(self) -> tuple[MissingNode, ...]:
        """Return the nodes that took no part, with their places as far as they are known."""
        return self.missing_ring or tuple(MissingNode(host_id) for host_id in self.missing_nodes)
