# SPDX-License-Identifier: Apache-2.0
"""Which node backup goes back to which stopped node, and what refuses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.coverage import members_of
from magnetodb_backup.domain.restore.routing import (
    SYSTEM_AUTH,
    Assignment,
    Method,
    Routing,
    no_source,
    rebuild_hint,
)
from magnetodb_backup.domain.restore.source_ring import (
    Comparison,
    SourceRing,
    factors,
    has_replicas_outside,
)
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription, TableName

_ONLINE = "restore without --offline: then the rows are streamed to the nodes that own them"


def choose_places(
    source: SourceRing,
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    present: Mapping[str, Mapping[str, str]],
    only: RingMember | None,
) -> tuple[Routing, list[str]]:
    """Return the routing of all keyspaces, and the problems that refuse it.

    ``present`` is the replication of keyspaces that the target has; ``only`` restricts the restore
    to one node.
    """
    homes, compared = source.homes(ring), source.comparison(ring)
    if only is not None:
        homes = {s: t for s, t in homes.items() if t == only.host_id}
        problems = [] if homes else [_no_source(only, source)]
    else:
        problems = _ring_problems(source, ring)
    by_repair = []
    for keyspace in keyspaces:
        now = present.get(keyspace.name, keyspace.replication)
        problems += _ownership_problems(keyspace, now, compared)
        if source.data_centers and has_replicas_outside(ring, now, source.data_centers):
            by_repair.append(keyspace.name)
    names = tuple(k.name for k in keyspaces)
    if SYSTEM_AUTH in by_repair and only is None:
        problems.append(_roles_problem(source))
    routing = Routing(
        dict.fromkeys(names, Method.PLACE),
        tuple(Assignment(s, t, names, Method.PLACE) for s, t in sorted(homes.items())),
        (),
        names if source.missing and only is None else (),
        tuple(by_repair) if only is None else (),
    )
    return routing, problems


def _no_source(member: RingMember, source: SourceRing) -> str:
    hint = rebuild_hint(member, source)
    return f"{no_source(member, source)}. {_ONLINE.capitalize()}{hint}"


def _ownership_problems(
    keyspace: KeyspaceDescription, now: Mapping[str, str], compared: Comparison
) -> list[str]:
    """Name a keyspace whose rows belong to other nodes than those that had them in the backup."""
    before = keyspace.replication
    only_inside = compared.inside and not compared.whole
    if compared.keeps(before, now) or (factors(now) == factors(before) and not only_inside):
        return []
    if factors(now) == factors(before):
        return [
            f"the replicas of keyspace {keyspace.name} ({dict(now)}) depend on the nodes of all "
            f"data centres, and those are not the backup's. {_ONLINE.capitalize()}"
        ]
    return [
        f"the replication of keyspace {keyspace.name} is {dict(now)}, in the backup "
        f"{dict(before)}: its rows belong to other nodes now. ALTER KEYSPACE "
        f"{keyspace.name} to the backup's first" + ("" if keyspace.is_system else f", or {_ONLINE}")
    ]


def _roles_problem(source: SourceRing) -> str:
    return (
        f"the backup is of {as_text(source.data_centers)} only: nodes of other data centres would "
        "start without roles, so no client could log in before their repair. Restore without "
        "--system-auth"
    )


def _ring_problems(source: SourceRing, ring: Sequence[RingMember]) -> list[str]:
    """Name the nodes that do not fit; a PARTIAL backup lacks some, whose rows a repair brings.

    Nor do nodes of other data centres than the backup's have to fit.
    """
    compared = source.comparison(ring)
    if compared.whole or compared.inside:
        return []
    homes = source.homes(ring)
    homeless = [n.address for n in source.nodes if n.host_id not in homes]
    without = [
        m.address for m in members_of(ring, source.data_centers) if m.host_id not in homes.values()
    ]
    differences = []
    if homeless:
        differences.append(f"no node has the tokens, data centre and rack of {', '.join(homeless)}")
    if without:
        differences.append(
            f"the backup has no node with the tokens, data centre and rack of {', '.join(without)}"
        )
    if not differences:
        differences.append(f"the backup is of {len(source.nodes) + len(source.missing)} nodes")
    return [
        f"the ring is not the backup's: {'; '.join(differences)}. Files cannot be streamed while "
        f"Cassandra is stopped; {_ONLINE}"
    ]


def is_everything(selected: Iterable[TableName], there: Iterable[TableName]) -> bool:
    """Return whether the commit log has nothing for tables outside of the selection.

    Cassandra flushes what it writes for itself; roles are written by users.
    """
    chosen = set(selected)
    if not any(t.keyspace == SYSTEM_AUTH for t in chosen):
        return False
    return all(t in chosen or KeyspaceDescription(t.keyspace).is_system for t in there)


def down_problems(
    down: Mapping[str, str],
    *,
    changes_schema: bool,
    everything: bool,
    single: bool,
) -> list[str]:
    """Return the problems of nodes whose Cassandra does not answer its worker.

    ``down`` are, by address, what the workers report; it may be slow instead of stopped.
    ``changes_schema``: tables or views are created or dropped, which needs all nodes.
    ``single``: only one node is restored; its replicas have what its commit log has.
    """
    problems = []
    for address, reason in down.items():
        what = f"Cassandra on node {address} does not answer its worker"
        what += f" ({reason})" if reason else ""
        if changes_schema:
            problems.append(
                f"{what}, but tables have to be made, or materialized views to be created again; "
                "start it first, or wait until it answers"
            )
        elif not everything and not single:
            problems.append(
                f"{what}: its commit log may have newer writes, which its start would put on top "
                "of the restored rows; start it first, or restore everything (no --table, no "
                "--keyspace, with --system-auth)"
            )
    return problems


def offline_warnings(
    left: Mapping[str, Mapping[str, Sequence[str]]], *, everything: bool, system_auth: bool
) -> list[str]:
    """Return the side effects of an offline restore.

    ``left`` are, by the address of each node that is stopped, directories in which earlier restores
    have left original files, by the restore's ID.
    """
    warnings = [
        f"Cassandra is stopped on {', '.join(left)} at the same time, and serves nothing until the "
        "files are exchanged"
    ]
    warnings += [
        f"{address}: restore {restore_id} has left original files in {', '.join(directories)}; "
        "remove them if they are not needed"
        for address, restores in left.items()
        for restore_id, directories in restores.items()
    ]
    if not everything and len(left) > 1:
        warnings.append(
            "hints are forgotten, those for tables outside of the selection too; run nodetool "
            "repair --full on them if nodes were down lately"
        )
        warnings.append(
            "lightweight transactions that were interrupted before the restore stay in "
            "system.paxos: the next one on the same row may finish them over the restored row. "
            "Run nodetool repair --paxos-only on the tables first (Cassandra 4.1 or later), or "
            "restore everything with --system-auth, which removes them"
        )
    if system_auth:
        warnings.append(
            "roles, passwords and grants become those of the backup; [cassandra] username of each "
            "worker has to be one of them"
        )
    return warnings


def exchange_state(restore_id: str, *, started: bool, errors: Mapping[str, str]) -> str:
    """Return the state of every table of an offline restore that ends after nodes were stopped.

    ``started``: the attempt to start them with the restored files has begun. ``errors``, by
    address, is what kept nodes from being left as they were, or from running.
    """
    old = f".magnetodb-backup/aside-{restore_id} of each data directory"
    trouble = "; ".join(f"{address}: {error}" for address, error in sorted(errors.items()))
    if started:
        state = (
            "has the backup's files; its indexes may be incomplete: repeat the restore, or run "
            f"nodetool rebuild_index. Its original files are in {old} until you remove them"
        )
        if errors:
            state += f". CASSANDRA MAY BE STOPPED, start it ({trouble})"
    elif errors:
        state = (
            f"has its rows on the other nodes, which run. CASSANDRA MAY BE STOPPED ({trouble}): if "
            f"its original files are in {old}, move them back to <keyspace>/<table>-<ID> before "
            "you start it"
        )
    else:
        state = "has its rows: all nodes have their original files, and run. Repeat the restore"
    return state
