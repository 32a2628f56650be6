# SPDX-License-Identifier: Apache-2.0
"""Which node backup goes to which node of the target cluster, and by which method."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.coverage import covering_nodes
from magnetodb_backup.domain.restore.source_ring import SourceRing, has_replicas_outside
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription, Selection, TableName
from magnetodb_backup.errors import NotFound


class Method(str, enum.Enum):
    """How SSTables reach the target.

    IMPORT: each node takes the files of the node whose tokens it has. STREAM: Cassandra's bulk
    loader sends the rows to the nodes that own them now. PLACE: as IMPORT, but Cassandra is
    stopped and the files are put where its own are.
    """

    IMPORT = "import"
    STREAM = "stream"
    PLACE = "place"


@dataclass(frozen=True)
class Assignment:
    """A node backup (by its host ID) whose keyspaces a target node works on."""

    source: str
    target: str
    keyspaces: tuple[str, ...]
    method: Method


@dataclass(frozen=True)
class Routing:
    """The method of each source keyspace, and which node works on which node backup.

    ``notes`` name the reasons against an import; ``incomplete`` are keyspaces that lack a replica
    in the backup. Nodes outside of the backup's data centres get the rows of the keyspaces
    ``by_repair`` from those of the node backups.
    """

    methods: Mapping[str, Method]
    assignments: tuple[Assignment, ...]
    notes: tuple[str, ...]
    incomplete: tuple[str, ...]
    by_repair: tuple[str, ...] = ()


SYSTEM_AUTH = "system_auth"


def find_member(ring: Sequence[RingMember], node: str) -> RingMember:
    """Return the ring member with this host ID or address; NotFound naming the members."""
    for member in ring:
        if node in (member.host_id, member.address):
            return member
    names = ", ".join(f"{m.address} ({m.host_id})" for m in ring)
    raise NotFound(f"the target has no node {node!r}; its nodes: {names}")


def choose_routing(
    source: SourceRing,
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    present: Mapping[str, Mapping[str, str]],
    *,
    only: RingMember | None,
    one_replica: bool,
) -> Routing:
    """Choose each keyspace's method, and who works on what.

    ``present`` is the replication of keyspaces that the target has, by the source's name.
    ``only`` restricts the restore to one target node.

    :raises NotFound: if ``only`` has the tokens of no node backup.
    """
    homes = source.homes(ring)
    if only is not None:
        return _single(source, only, keyspaces, homes)
    compared = source.comparison(ring)
    methods: dict[str, Method] = {}
    by_repair, notes = [], []
    for keyspace in keyspaces:
        replication = present.get(keyspace.name, keyspace.replication)
        if compared.keeps(keyspace.replication, replication):
            methods[keyspace.name] = Method.IMPORT
            if source.data_centers and has_replicas_outside(ring, replication, source.data_centers):
                by_repair.append(keyspace.name)
            continue
        methods[keyspace.name] = Method.STREAM
        if compared.whole or compared.inside:
            notes.append(
                f"keyspace {keyspace.name} is streamed: its replication in the target is "
                f"{dict(replication)}, in the backup {dict(keyspace.replication)}"
            )
        else:
            notes.append(
                f"keyspace {keyspace.name} is streamed: the target's {len(ring)} nodes do not have "
                f"the tokens, data centres and racks of the backup's {len(source.nodes)}"
            )
    assignments = [
        Assignment(host_id, target, names, Method.IMPORT)
        for host_id, target in sorted(homes.items())
        if (names := tuple(k for k, m in methods.items() if m is Method.IMPORT))
    ]
    streamed = [k for k in keyspaces if methods[k.name] is Method.STREAM]
    assignments += _streams(source, ring, streamed, homes, one_replica)
    return Routing(
        methods,
        tuple(assignments),
        tuple(notes),
        tuple(k.name for k in keyspaces) if source.missing else (),
        tuple(by_repair),
    )


def _single(
    source: SourceRing,
    only: RingMember,
    keyspaces: Sequence[KeyspaceDescription],
    homes: Mapping[str, str],
) -> Routing:
    found = [host_id for host_id, target in homes.items() if target == only.host_id]
    if not found:
        raise NotFound(
            f"{no_source(only, source)}; restore all nodes instead: without --node each node gets "
            f"the rows that it owns{rebuild_hint(only, source)}"
        )
    names = tuple(k.name for k in keyspaces)
    return Routing(
        dict.fromkeys(names, Method.IMPORT),
        (Assignment(found[0], only.host_id, names, Method.IMPORT),),
        (),
        (),
    )


def no_source(only: RingMember, source: SourceRing) -> str:
    """Return that no node backup fits a node, and which nodes the backup has."""
    return (
        f"no node backup has the tokens, data centre and rack of node {only.address} "
        f"({only.host_id}); the backup's nodes: {', '.join(n.address for n in source.nodes)}"
    )


def rebuild_hint(only: RingMember, source: SourceRing) -> str:
    """Return how a node of a data centre that a backup does not have gets its rows; or nothing."""
    if not source.data_centers or only.dc in source.data_centers:
        return ""
    return (
        f". The backup is of {as_text(source.data_centers)} only: if its rows are there, run "
        f"nodetool rebuild {source.data_centers[0]} on the node"
    )


def _streams(
    source: SourceRing,
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    homes: Mapping[str, str],
    one_replica: bool,
) -> list[Assignment]:
    """Spread the node backups over the target's nodes, each to the node with its tokens if any."""
    wanted: dict[str, list[str]] = {}
    for keyspace in keyspaces:
        hosts: Sequence[str] = [n.host_id for n in source.nodes]
        if one_replica and not source.missing:
            hosts = covering_nodes(source.members(), keyspace.replication, hosts)
        for host in hosts:
            wanted.setdefault(host, []).append(keyspace.name)
    members_by_load = {m.host_id: 0 for m in ring}
    assignments = []
    for host_id, names in sorted(wanted.items()):
        target = homes.get(host_id) or min(members_by_load, key=lambda h: members_by_load[h])
        members_by_load[target] += 1
        assignments.append(Assignment(host_id, target, tuple(names), Method.STREAM))
    return assignments


def copies(replication: Mapping[str, str]) -> int:
    """Return how many replicas a row has."""
    return sum(
        int(str(v).partition("/")[0])
        for k, v in replication.items()
        if k != "class" and str(v).partition("/")[0].isdigit()
    )


def select_tables(
    selection: Selection,
    keyspaces: Collection[str],
    tables: Collection[TableName],
    *,
    system_auth: bool = False,
) -> Selection:
    """Return the part of a backup's selection that is to be restored, without views.

    Both empty: everything but Cassandra's own keyspaces. Views are built from their tables.
    ``system_auth`` is added where asked.

    :raises NotFound: for keyspaces or tables that the backup lacks, naming them.
    """
    chosen = _select_own(selection, keyspaces, tables)
    if not system_auth:
        return chosen
    roles = [k for k in selection.keyspaces if k.name == SYSTEM_AUTH]
    if not roles:
        raise NotFound(
            f"the backup does not have the keyspace {SYSTEM_AUTH}; backup create --all-keyspaces "
            "takes it"
        )
    return Selection(
        (*chosen.keyspaces, *roles),
        (*chosen.tables, *(t for t in selection.tables if t.name.keyspace == SYSTEM_AUTH)),
    )


def _select_own(
    selection: Selection, keyspaces: Collection[str], tables: Collection[TableName]
) -> Selection:
    own = {k.name: k for k in selection.keyspaces if not k.is_system}
    known = {t.name for t in selection.tables}
    views = {t.name for t in selection.tables if t.is_view}
    lacking = [k for k in keyspaces if k not in own]
    lacking += [str(t) for t in tables if t not in known]
    if lacking:
        beside = {t.keyspace for t in tables if t not in known}
        there = [str(t) for t in sorted(known - views) if t.keyspace in beside]
        raise NotFound(
            f"the backup does not have {', '.join(lacking)}; it has the keyspaces "
            f"{', '.join(sorted(own)) or 'none'}"
            + (f", there the tables {', '.join(there)}" if there else "")
        )
    asked_views = [str(t) for t in tables if t in views]
    if asked_views:
        raise NotFound(
            f"{', '.join(asked_views)} is a materialized view, which is built from its table; "
            "name the table"
        )
    chosen = tuple(
        t
        for t in selection.tables
        if not t.is_view
        and t.name.keyspace in own
        and (not (keyspaces or tables) or t.name.keyspace in keyspaces or t.name in tables)
    )
    names = {t.name.keyspace for t in chosen} | set(keyspaces)
    if not (keyspaces or tables):
        names |= set(own)
    return Selection(tuple(k for n, k in own.items() if n in names), chosen)
