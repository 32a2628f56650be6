# SPDX-License-Identifier: Apache-2.0
"""What a restore takes from where: tables, and parts of backups."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.domain.restore.routing import Method
from magnetodb_backup.domain.tables import TableName, check_name


class TableRef(NamedTuple):
    """A table of the backup, and the table of the target cluster that receives its rows.

    In JSON it is a pair of pairs: ``[[keyspace, table], [keyspace, table]]``.
    """

    source: TableName
    target: TableName

    @property
    def key(self) -> str:
        """The target as the restore's record names it: ``keyspace.table`` without quotes."""
        return table_key(self.target)

    def checked(self) -> TableRef:
        """Return this reference; its names may become parts of paths and of CQL.

        :raises InvalidValue: for a name that Cassandra could not have.
        """
        return TableRef(checked_name(self.source), checked_name(self.target))


def table_key(name: TableName) -> str:
    """Return ``keyspace.table`` without quotes."""
    return f"{name.keyspace}.{name.table}"


def checked_name(name: TableName) -> TableName:
    """Return ``name`` if Cassandra could have it.

    :raises InvalidValue: otherwise.
    """
    return TableName(check_name(name.keyspace, "keyspace"), check_name(name.table, "table"))


class PartKind(str, enum.Enum):
    """What a part consists of."""

    SSTABLES = "sstables"


@dataclass(frozen=True)
class Part:
    """What one restore takes from one node backup, and how it is delivered.

    ``source`` is the host ID of the node backup and ``manifest`` its stored node manifest. A part
    of a release that had one backup in each restore has neither ``cluster`` nor ``backup_id``: the
    task names them.
    """

    source: str
    manifest: StoredObject
    tables: tuple[TableRef, ...]
    method: Method = Method.IMPORT
    cluster: str = ""
    backup_id: str = ""
    kind: PartKind = PartKind.SSTABLES


def shared_proofs(work: Mapping[str, Sequence[Part]]) -> dict[str, tuple[str, ...]]:
    """Return by node the node backups (by host ID) whose packs it proves, each table once.

    All nodes that stream may have parts of all node backups: each of them would prove all packs.
    """
    takers: dict[str, dict[str, set[TableRef]]] = {}
    for host_id, parts in work.items():
        for part in parts:
            takers.setdefault(part.source, {}).setdefault(host_id, set()).update(part.tables)
    proofs: dict[str, list[str]] = {host_id: [] for host_id in work}
    for source, tables_of in takers.items():
        proved: set[TableRef] = set()
        for host_id in sorted(tables_of, key=lambda h: len(proofs[h])):
            if not tables_of[host_id] <= proved:
                proofs[host_id].append(source)
                proved |= tables_of[host_id]
    return {host_id: tuple(sources) for host_id, sources in proofs.items()}
