# SPDX-License-Identifier: Apache-2.0
"""The figures of a backup: each node looks at its token ranges before and after the snapshots.

Figures are an extra: what keeps them from being taken is told, and does not fail the backup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.fingerprints import MOST_RANGES, assign_ranges, split_ring
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import Selection
from magnetodb_backup.errors import Cancelled

_BEFORE, _AFTER = Phase.FIGURES_BEFORE.value, Phase.FIGURES_AFTER.value
_TOLD = 3  # tables that could not be read, in a note


def look_first(
    fanout: Fanout,
    calls: Callable[[Mapping[str, Mapping[str, Any]]], list[Call]],
    results: Results,
) -> Mapping[str, Any]:
    """Let each node look at the ranges that it owns; ``calls`` are made by host ID.

    :raises Cancelled: only that; other errors are told in the result.
    """
    tables = _tables(Selection.from_json(results[Phase.RESOLVE.value]["selection"]))
    if not tables:
        return _failed("the backup has no tables but Cassandra's own and views")
    census = results[Phase.CENSUS.value]
    ring = [RingMember.from_json(m) for m in census["ring"]]
    present = {e["member"]["host_id"] for e in census["present"]}
    tokens = [token for member in ring for token in member.tokens]
    ranges = split_ring(tokens, max(MOST_RANGES, len(present)))
    own = {
        host_id: {"tables": tables, "ranges": [r.as_json() for r in found]}
        for host_id, found in assign_ranges(ranges, ring, present).items()
    }
    outcomes = fanout.run(calls(own), stop_at_first_error=False)
    if problem := _problem(outcomes):
        return _failed(problem)
    return {"hosts": sorted(own), "unread": _unread(outcomes), "problem": ""}


def look_again(
    fanout: Fanout,
    calls: Callable[[frozenset[str]], list[Call]],
    results: Results,
    hosts_in: frozenset[str],
) -> Mapping[str, Any]:
    """Let the same nodes look again; return what they have stored as ``figures``.

    ``hosts_in``: the host IDs that are still in the backup.

    :raises Cancelled: only that; other errors are told in the result.
    """
    before = results[_BEFORE]
    if before["problem"]:
        return _failed(before["problem"])
    hosts = frozenset(before["hosts"])
    if left := hosts - hosts_in:
        return _failed(f"the nodes {', '.join(sorted(left))} left the backup")
    outcomes = fanout.run(calls(hosts), stop_at_first_error=False)
    if problem := _problem(outcomes):
        return _failed(problem)
    return {
        "figures": [o.result["figures"] for o in outcomes],
        "unread": {**before["unread"], **_unread(outcomes)},
        "problem": "",
    }


def fingerprint_notes(results: Results) -> list[str]:
    """Return what a backup's record says of figures that were asked for and lack something."""
    after = results.get(_AFTER)
    if after is None:
        return []
    if after["problem"]:
        return [f"without figures, which restore --check needs: {after['problem']}"]
    unread = after["unread"]
    told = "; ".join(f"{table} ({reason})" for table, reason in sorted(unread.items())[:_TOLD])
    more = f" and {len(unread) - _TOLD} more" if len(unread) > _TOLD else ""
    return [f"the figures lack ranges that could not be read: {told}{more}"] if unread else []


def _tables(selection: Selection) -> list[list[str]]:
    """Return the tables whose rows are users': no views, nothing of Cassandra's own."""
    own = {k.name for k in selection.keyspaces if not k.is_system}
    return [
        [t.name.keyspace, t.name.table]
        for t in selection.tables
        if not t.is_view and t.name.keyspace in own
    ]


def _failed(problem: str) -> Mapping[str, Any]:
    return {"hosts": [], "figures": [], "unread": {}, "problem": problem}


def _problem(outcomes: list[Outcome]) -> str:
    for outcome in outcomes:
        if isinstance(outcome.error, Cancelled):
            raise outcome.error
    told = [
        str(o.error or f"node {o.call.host}: {o.result['problem']}")
        for o in outcomes
        if o.error is not None or o.result.get("problem")
    ]
    return "; ".join(told)


def _unread(outcomes: list[Outcome]) -> dict[str, str]:
    return {table: reason for o in outcomes for table, reason in o.result["unread"].items()}
