# SPDX-License-Identifier: Apache-2.0
"""The plan of a restore: what it would do, what refuses it, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from magnetodb_backup.domain.fingerprints import TableFingerprints
from magnetodb_backup.domain.restore.routing import Method


@dataclass(frozen=True)
class DirectoryRoom:
    """A data directory: free bytes of its file system, and the bytes that the restore needs."""

    path: str
    free: int
    needed: int


@dataclass(frozen=True)
class PlannedTable:
    """A table; source and target are ``keyspace.table``, ``exists`` and ``has_rows`` the target's.

    ``files`` and ``bytes`` are those of all replicas.
    """

    source: str
    target: str
    files: int
    bytes: int
    exists: bool
    has_rows: bool


@dataclass(frozen=True)
class PlannedNode:
    """A node of the target, and the node backups (host IDs) whose files it takes.

    ``bytes_staged`` of ``bytes`` were fetched for an earlier restore and are still on the node.
    """

    host_id: str
    address: str
    sources: tuple[str, ...]
    files: int
    bytes: int
    free: tuple[DirectoryRoom, ...]
    bytes_staged: int = 0


@dataclass(frozen=True)
class PlannedSchema:
    """The statements that would be executed (shortened), differences and notes."""

    create: tuple[str, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a restore would do. Sizes in bytes, times in seconds.

    ``requests`` counts the packs to read; ``bytes`` is the size of all files, ``bytes_staged`` of
    those among them that need not be fetched, because an earlier restore has left them on the
    nodes; ``bytes_sent`` is what the bulk loader sends to all replicas; ``amplification`` is the
    bytes moved for each byte of the backup. ``problems`` refuse the restore, ``warnings`` do not.
    ``figures`` has the comparable token ranges by table, None without a check.
    """

    method_by_keyspace: Mapping[str, Method]
    tables: tuple[PlannedTable, ...]
    nodes: tuple[PlannedNode, ...]
    requests: int
    bytes: int
    bytes_sent: int
    amplification: float
    expected_seconds: float
    schema: PlannedSchema
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: Mapping[str, TableFingerprints] | None = None
    bytes_staged: int = 0

    def extended(self, problems: tuple[str, ...], warnings: tuple[str, ...]) -> Plan:
        """Return the plan with more problems and warnings."""
        return replace(
            self,
            problems=(*self.problems, *problems),
            warnings=(*self.warnings, *warnings),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the plan as the record of a restore and the REST API have it."""
        document = asdict(self)
        document["method_by_keyspace"] = {k: m.value for k, m in self.method_by_keyspace.items()}
        if self.figures is None:
            del document["figures"]
        return document
