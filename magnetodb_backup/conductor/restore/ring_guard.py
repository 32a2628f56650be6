# SPDX-License-Identifier: Apache-2.0
"""Proves that the ring is still that of the census before rows are removed or delivered.

What is truncated and imported goes by the members of the census. A node that joins meanwhile would
keep the rows from before the truncation, and get none of the restored ones.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results, Step
from magnetodb_backup.conductor.outcomes import first_error
from magnetodb_backup.conductor.restore.waits import Waits
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.restore.records import Restore, RestorePhase
from magnetodb_backup.domain.ring import ring_differences, ring_digest
from magnetodb_backup.errors import RingDiffers
from magnetodb_backup.tasks.backup import Describe, NodeDescription
from magnetodb_backup.tasks.restore_steps import RingTaken

_LOOK_EVERY = 1.0  # seconds

# What a change means before each step, and what to do about it.
_REMEDIES = {
    RestorePhase.TRUNCATE.value: (
        "nothing has been truncated or delivered; repeat the restore once all nodes have joined, "
        "left or moved"
    ),
    RestorePhase.IMPORT.value: (
        "the tables may be truncated, and no rows have been delivered; repeat the restore"
    ),
    RestorePhase.CLEANUP.value: (
        "the rows are delivered to the nodes that were in the ring at the beginning; run nodetool "
        "repair --full on all nodes, or repeat the restore"
    ),
}
# Where waiting costs nothing more: what is truncated stays so until the restore continues.
_WAITING = (RestorePhase.IMPORT.value, RestorePhase.CLEANUP.value)


@dataclass(frozen=True)
class _Changes:
    """What nodes see: other rings, and nodes that are about to change the ring."""

    rings: tuple[str, ...]
    unsettled: tuple[str, ...]


class RingGuard:
    """Looks at the ring before steps of a restore; its record shows what it waits for."""

    def __init__(self, job: Job, restore: Restore, context: JobContext) -> None:
        self._job, self._restore, self._context = job, restore, context
        self._waits = Waits(context.database, restore.id)

    def before(self, step: Step) -> Step:
        """Return the step with a look at the ring before it, if it needs one."""
        if step.name not in _REMEDIES:
            return step

        def run(results: Results) -> object:
            self.require(results, step.name)
            return step.run(results)

        return replace(step, run=run)

    def require(self, results: Results, step: str) -> None:
        """Compare the ring with that of the census.

        After the truncation, wait for nodes that join, leave or move: their end decides.

        :raises RingDiffers: if it is another one, or is about to be one.
        """
        while True:
            found = self._changes(results, step)
            if not found.unsettled or step not in _WAITING:
                break
            text = "; ".join(found.unsettled)
            self._waits.show(f"waits before {step} until the ring is settled: {text}")
            self._context.raise_if_cancelled()
            self._context.wait(_LOOK_EVERY)
        self._waits.show("")
        if differences := (*found.rings, *found.unsettled):
            raise RingDiffers(f"{'; '.join(differences)}: {_REMEDIES[step]}")

    def _changes(self, results: Results, step: str) -> _Changes:
        taken = results.of(RingTaken)
        census = [member.ring_member() for member in taken.ring]
        # Nodes that did not run at the beginning run at the end, if the restore is a success.
        without = () if step == RestorePhase.CLEANUP.value else taken.down
        rings: list[str] = []
        unsettled: dict[str, str] = {}
        seen = self._describe(results, step, ring_digest(census), without)
        for address, description in seen.items():
            ring = [member.ring_member() for member in description.ring]
            if ring and (difference := ring_differences(ring, census)):
                rings.append(f"node {address} does not see the ring of the census: {difference}")
            for node, state in (description.unsettled or {}).items():
                unsettled.setdefault(f"node {node} is {state}", f" (seen by {address})")
        return _Changes(tuple(rings), tuple(f"{n}{by}" for n, by in unsettled.items()))

    def _describe(
        self, results: Results, step: str, ring_sha256: str, without: Collection[str]
    ) -> dict[str, NodeDescription]:
        """Return, by address, what the nodes see now, all but the host IDs of ``without``.

        :raises BackupError: the first error.
        """
        calls = []
        for present in results.of(RingTaken).present:
            member = present.member.ring_member()
            if member.host_id in without:
                continue
            task = Describe(
                host_id=member.host_id,
                backup_id=self._restore.backup_id,
                restore_id=self._restore.id,
                source_cluster=self._restore.source_cluster,
                ring_sha256=ring_sha256,
            )
            task_id = f"{self._job.id}:{step}_ring:{member.host_id}:{time.time_ns()}"
            calls.append(call_of(task, member, present.worker_id, task_id))
        outcomes = self._context.fanout().run(calls, troubled=self._waits.of_step(step))
        error = first_error(outcomes)
        if error is not None:
            raise error
        return {o.call.host: result_of(Describe, o) for o in outcomes}


def require_settled(described: NodeDescription) -> None:
    """Raise if the node sees others join, leave or move.

    :raises RingDiffers: naming them.
    """
    if described.unsettled:
        names = ", ".join(f"node {a} is {state}" for a, state in described.unsettled.items())
        raise RingDiffers(f"{names}; repeat the restore once the ring does not change")
