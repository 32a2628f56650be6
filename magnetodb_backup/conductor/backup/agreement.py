# SPDX-License-Identifier: Apache-2.0
"""Waits between two rounds of a backup until the nodes agree."""

from __future__ import annotations

import time

from magnetodb_backup.conductor.backup.nodes import BackupNodes, hosts_in
from magnetodb_backup.conductor.calls import result_of
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.ring import ring_digest
from magnetodb_backup.errors import Cancelled, RingDiffers
from magnetodb_backup.tasks.backup import Describe

_LONGEST_PAUSE = 16  # poll intervals


def await_agreement(
    nodes: BackupNodes, results: Results, context: JobContext, deadline: float
) -> None:
    """Wait until the nodes of a round see one ring and have one schema version.

    After a node has joined or left, gossip reaches the others one by one; a round that begins
    meanwhile fails like the one before. ``deadline`` is by the monotonic clock.

    :raises Cancelled: if the job is cancelled.
    """
    pause = context.settings.poll_interval
    while not _agree(nodes, results) and (left := deadline - time.monotonic()) > 0:
        context.wait(min(pause, left))
        context.raise_if_cancelled()
        pause = min(2 * pause, _LONGEST_PAUSE * context.settings.poll_interval)


def _agree(nodes: BackupNodes, results: Results) -> bool:
    """Return whether all nodes that answer agree."""
    outcomes = nodes.outcomes(
        results,
        f"agreement:{time.time_ns()}",
        lambda host_id: Describe(**nodes.fields(host_id)),
        hosts_in(results),
    )
    seen = set()
    for outcome in outcomes:
        if isinstance(outcome.error, Cancelled):
            raise outcome.error
        if isinstance(outcome.error, RingDiffers):
            return False  # it knows a peer in part
        if outcome.error is None:
            described = result_of(Describe, outcome)
            ring = ring_digest(member.ring_member() for member in described.ring)
            seen.add((ring, described.member.schema_version))
    return len(seen) <= 1
