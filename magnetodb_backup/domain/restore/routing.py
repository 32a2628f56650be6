# SPDX-License-Identifier: Apache-2.0
"""Which node backup goes to which node of the target cluster, and by which method."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.backup.manifest import MissingNode, NodeShare
from magnetodb_backup.domain.coverage import covering_nodes
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
    in the backup.
    """

    methods: Mapping[str, Method]
    assignments: tuple[Assignment, ...]
    notes: tuple[str, ...]
    incomplete: tuple[str, ...]


SYSTEM_AUTH = "system_auth"


def same_tokens(sources: Sequence[NodeShare], ring: Sequence[RingMember]) -> Mapping[str, str]:
    """Return the target's host ID by the source's, for nodes with equal tokens, DC and rack."""
    by_place = {(tuple(sorted(m.tokens)), m.dc, m.rack): m.host_id for m in ring if m.tokens}
    found = {}
    for source in sources:
        target = by_place.get((tuple(sorted(source.tokens)), source.dc, source.rack))
        if target is not None:
            found[source.host_id] = target
    return found


def unlike(
    missing: Sequence[MissingNode], ring: Sequence[RingMember], by_tokens: Mapping[str, str]
) -> list[RingMember]:
    """Return the members of the ring that are neither of a node backup nor one it lacks.

    A node that has replaced a missing one with other tokens owns other ranges than that one, and
    so do its neighbours.
    """
    places = {(tuple(sorted(m.tokens)), m.dc, m.rack) for m in missing if m.tokens}
    unplaced = {m.host_id for m in missing if not m.tokens}
    homes = set(by_tokens.values())
    return [
        m
        for m in ring
        if m.host_id not in homes
        and m.host_id not in unplaced
        and (tuple(sorted(m.tokens)), m.dc, m.rack) not in places
    ]


def find_member(ring: Sequence[RingMember], node: str) -> RingMember:
    """Return the ring member with this host ID or address; NotFound naming the members."""
    for member in ring:
        if node in (member.host_id, member.address):
            return member
    names = ", ".join(f"{m.address} ({m.host_id})" for m in ring)
    raise NotFound(f"the target has no node {node!r}; its nodes: {names}")


def choose_routing(
    sources: Sequence[NodeShare],
    missing_sources: Sequence[MissingNode],
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
    by_tokens = same_tokens(sources, ring)
    if only is not None:
        return _single(sources, only, keyspaces, by_tokens)
    whole_ring = (
        len(by_tokens) == len(sources)
        and len(ring) == len(sources) + len(missing_sources)
        and not unlike(missing_sources, ring, by_tokens)
    )
    methods: dict[str, Method] = {}
    notes = []
    for keyspace in keyspaces:
        replication = present.get(keyspace.name, keyspace.replication)
        if not whole_ring:
            methods[keyspace.name] = Method.STREAM
            notes.append(
                f"keyspace {keyspace.name} is streamed: the target's {len(ring)} nodes do not have "
                f"the tokens, data centres and racks of the backup's {len(sources)}"
            )
        elif factors(replication) != factors(keyspace.replication):
            methods[keyspace.name] = Method.STREAM
            notes.append(
                f"keyspace {keyspace.name} is streamed: its replication in the target is "
                f"{dict(replication)}, in the backup {dict(keyspace.replication)}"
            )
        else:
            methods[keyspace.name] = Method.IMPORT
    assignments = [
        Assignment(source, target, names, Method.IMPORT)
        for source, target in sorted(by_tokens.items())
        if (names := tuple(k for k, m in methods.items() if m is Method.IMPORT))
    ]
    streamed = [k for k in keyspaces if methods[k.name] is Method.STREAM]
    assignments += _streams(sources, missing_sources, ring, streamed, by_tokens, one_replica)
    return Routing(
        methods,
        tuple(assignments),
        tuple(notes),
        tuple(k.name for k in keyspaces) if missing_sources else (),
    )


def _single(
    sources: Sequence[NodeShare],
    only: RingMember,
    keyspaces: Sequence[KeyspaceDescription],
    by_tokens: Mapping[str, str],
) -> Routing:
    found = [source for source, target in by_tokens.items() if target == only.host_id]
    if not found:
        raise NotFound(
            f"no node backup has the tokens, data centre and rack of node {only.address} "
            f"({only.host_id}); restore all nodes instead: without --node the rows are streamed "
            f"to their owners. The backup's nodes: {', '.join(s.address for s in sources)}"
        )
    names = tuple(k.name for k in keyspaces)
    return Routing(
        dict.fromkeys(names, Method.IMPORT),
        (Assignment(found[0], only.host_id, names, Method.IMPORT),),
        (),
        (),
    )


def _streams(
    sources: Sequence[NodeShare],
    missing_sources: Sequence[MissingNode],
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    by_tokens: Mapping[str, str],
    one_replica: bool,
) -> list[Assignment]:
    """Spread the node backups over the target's nodes, each to the node with its tokens if any."""
    wanted: dict[str, list[str]] = {}
    for keyspace in keyspaces:
        hosts = [s.host_id for s in sources]
        if one_replica and not missing_sources:
            members = [
                RingMember(s.host_id, s.address, s.dc, s.rack, s.version, s.tokens) for s in sources
            ]
            hosts = list(covering_nodes(members, keyspace.replication))
        for host in hosts:
            wanted.setdefault(host, []).append(keyspace.name)
    members_by_load = {m.host_id: 0 for m in ring}
    assignments = []
    for source, names in sorted(wanted.items()):
        target = by_tokens.get(source) or min(members_by_load, key=lambda h: members_by_load[h])
        members_by_load[target] += 1
        assignments.append(Assignment(source, target, tuple(names), Method.STREAM))
    return assignments


def factors(replication: Mapping[str, str]) -> dict[str, str]:
    """Return a replication with the class's short name, so that equal ones compare equal.

    A data centre with the factor 0 has no replica, so it is left out.
    """
    return {
        k: str(v).rpartition(".")[2] if k == "class" else str(v)
        for k, v in replication.items()
        if str(v).partition("/")[0] != "0"
    }


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
