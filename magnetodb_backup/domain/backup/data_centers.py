# SPDX-License-Identifier: Apache-2.0
"""Backups of some data centres: their names, and the keyspaces that have a complete copy there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.coverage import KeyspaceCoverage, coverage, strategy_of
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription, Selection
from magnetodb_backup.errors import InvalidValue, NotFound

_REMEDY = (
    "give them replicas there (ALTER KEYSPACE to NetworkTopologyStrategy, then nodetool rebuild or "
    "repair --full)"
)


def as_text(data_centers: Sequence[str]) -> str:
    """Return ``data centre dc1`` or ``data centres dc1 and dc2``."""
    return f"data centre{'s' if len(data_centers) > 1 else ''} {' and '.join(data_centers)}"


def checked_names(data_centers: Iterable[str]) -> tuple[str, ...]:
    """Return the names, each once, in their order.

    :raises InvalidValue: for an empty name, or one with blanks around it.
    """
    names = tuple(dict.fromkeys(data_centers))
    for name in names:
        if not name or name != name.strip():
            raise InvalidValue(
                f"{name!r} is not the name of a data centre; use one that nodetool status shows"
            )
    return names


def require_known(wanted: Sequence[str], known: Collection[str], cluster: str) -> None:
    """Raise NotFound for data centres that the cluster does not have, naming those it has."""
    if unknown := [name for name in wanted if name not in known]:
        raise NotFound(
            f"cluster {cluster!r} has no {as_text(unknown)}; known: "
            f"{', '.join(sorted(known)) or 'none'}"
        )


@dataclass(frozen=True)
class _Lacking:
    """A keyspace without a complete copy, and the reason."""

    keyspace: KeyspaceDescription
    reason: str
    has_part: bool


def excluded_keyspaces(
    ring: Sequence[RingMember],
    selection: Selection,
    data_centers: Sequence[str],
    scope: Mapping[str, object],
) -> tuple[str, ...]:
    """Return the selected keyspaces that a backup of the data centres leaves out.

    Those have no complete copy there. Only the scope ``all`` names no keyspace, so only with it
    they can be left out: keyspaces without a replica there, and Cassandra's own.

    :raises InvalidValue: naming all others without a complete copy, and the remedies.
    """
    lacking = _lacking(ring, selection.keyspaces, data_centers) if data_centers else []
    refused = [
        each
        for each in lacking
        if scope.get("type") != "all" or (each.has_part and not each.keyspace.is_system)
    ]
    left_out = tuple(each.keyspace.name for each in lacking)
    if refused or (lacking and not selection.without(left_out).tables):
        where = as_text(data_centers)
        named = "; ".join(f"{each.keyspace.name} ({each.reason})" for each in refused or lacking)
        raise InvalidValue(
            f"{where} has no complete copy of the keyspaces {named}: {_REMEDY}, choose other "
            "keyspaces by --keyspace, or back up all data centres, without --dc"
        )
    return left_out


def _lacking(
    ring: Sequence[RingMember],
    keyspaces: Sequence[KeyspaceDescription],
    data_centers: Sequence[str],
) -> list[_Lacking]:
    everyone = {m.host_id for m in ring}
    found = coverage(ring, keyspaces, everyone, data_centers)
    return [
        _Lacking(keyspace, _reason(keyspace, each), each.lost < each.ranges)
        for keyspace, each in zip(keyspaces, found, strict=True)
        if each.status != "complete"
    ]


def _reason(keyspace: KeyspaceDescription, found: KeyspaceCoverage) -> str:
    strategy = strategy_of(keyspace.replication) or "no replication"
    match strategy:
        case "NetworkTopologyStrategy":
            return "no replica there"
        case "SimpleStrategy":
            return (
                f"{found.lost} of {found.ranges} token ranges have no replica there; "
                "SimpleStrategy does not distinguish data centres"
            )
    return f"it is not known where {strategy} has its replicas"
