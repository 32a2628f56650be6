# SPDX-License-Identifier: Apache-2.0
"""The sentences that a record shows of how a restore ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from magnetodb_backup.conductor.fanout import Outcome
from magnetodb_backup.domain.restore.records import RestorePhase
from magnetodb_backup.domain.restore.table_states import RESTORED, UNTOUCHED
from magnetodb_backup.tasks.codec import decode
from magnetodb_backup.tasks.restore import StagingRemoved

LOG = logging.getLogger(__name__)
_SHOWN = 3  # nodes that a sentence names
# What nothing can end in Cassandra, by the phase in which a restore ends.
CONTINUES = {
    RestorePhase.VIEWS.value: ". Builds of views and indexes that have begun continue in Cassandra",
    RestorePhase.REPAIR.value: ". A repair that has begun continues in Cassandra",
}


def staging_left(outcomes: Sequence[Outcome], backup_id: str) -> str:
    """Return sentences on the files that stay on the nodes, why, and for how long."""
    text = ""
    kept: dict[str, StagingRemoved] = {}
    silent = []
    for outcome in outcomes:
        host = outcome.call.host
        if outcome.error is not None:
            LOG.warning("staged files on %s stay: %s", host, outcome.error)
            silent.append(host)
            continue
        found = decode(StagingRemoved, outcome.result)
        if found.importing:
            text += (
                f". On {host} the import into {', '.join(found.importing)} continues in "
                "Cassandra; the worker removes the staged files after its end"
            )
        if found.kept:
            kept[host] = found
    if silent:
        text += (
            f". What is staged on {_some(silent)} stays until the worker there, which did not "
            "answer, reports again"
        )
    return text + _kept(kept, backup_id)


def _kept(kept: Mapping[str, StagingRemoved], backup_id: str) -> str:
    if not kept:
        return ""
    places = [f"{host} ({', '.join(found.kept)})" for host, found in kept.items()]
    days = max(found.kept_seconds for found in kept.values()) / 86400
    size = sum(found.kept_bytes for found in kept.values())
    return (
        f". {-(-size >> 20)} MiB of verified files stay on {_some(places)}: another restore of "
        f"backup {backup_id} does not fetch them again. Workers remove them {days:g} days after "
        "their last use ([worker] staging_max_age), or when a data directory has too little free "
        "space; to free the room now, remove these directories on the nodes"
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more nodes" if more > 0 else "")


def states_as_text(states: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each state that a reader has to act on."""
    by_state: dict[str, list[str]] = {}
    for table, state in states.items():
        by_state.setdefault(state, []).append(table)
    for state, tables in sorted(by_state.items()):
        if state not in (UNTOUCHED, RESTORED):
            yield f". {', '.join(sorted(tables))}: {state}"
