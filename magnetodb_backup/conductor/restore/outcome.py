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
# What nothing can end in Cassandra, by the phase in which a restore ends.
CONTINUES = {
    RestorePhase.VIEWS.value: ". Builds of views and indexes that have begun continue in Cassandra",
    RestorePhase.REPAIR.value: ". A repair that has begun continues in Cassandra",
}


def removed(outcomes: Sequence[Outcome]) -> str:
    """Return sentences on the staged files that stay, because Cassandra still imports them."""
    text = ""
    for outcome in outcomes:
        if outcome.error is not None:
            LOG.warning(
                "staged files on %s stay until its worker reports again: %s",
                outcome.call.host,
                outcome.error,
            )
        elif tables := decode(StagingRemoved, outcome.result).importing:
            text += (
                f". On {outcome.call.host} the import into {', '.join(tables)} continues in "
                "Cassandra; the worker removes the staged files after its end"
            )
    return text


def states_as_text(states: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each state that a reader has to act on."""
    by_state: dict[str, list[str]] = {}
    for table, state in states.items():
        by_state.setdefault(state, []).append(table)
    for state, tables in sorted(by_state.items()):
        if state not in (UNTOUCHED, RESTORED):
            yield f". {', '.join(sorted(tables))}: {state}"
