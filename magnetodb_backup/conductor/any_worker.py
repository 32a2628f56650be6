# SPDX-License-Identifier: Apache-2.0
"""Runs a cluster-wide task on any one live worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.fanout import Fanout, Outcome
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.errors import MissingWorker, StillUnavailable, WrongNode
from magnetodb_backup.tasks.kinds import Task

R = TypeVar("R")
_LOOK_EVERY = 1.0  # seconds between two looks for a missing worker


class AnyWorker:
    """Runs tasks on one live worker of a cluster. ``worker_timeout`` in seconds.

    With ``try_others`` the next worker gets the task if the node of the first one fails.
    ``raise_if_cancelled`` raises if this process must stop the job.
    """

    def __init__(
        self,
        database: Database,
        fanout: Fanout,
        cluster: str,
        *,
        raise_if_cancelled: Callable[[], None],
        wait: Callable[[float], None],
        worker_timeout: float,
        try_others: bool,
    ) -> None:
        self._database, self._fanout, self._cluster = database, fanout, cluster
        self._raise_if_cancelled, self._wait = raise_if_cancelled, wait
        self._worker_timeout, self._try_others = worker_timeout, try_others

    def deadline(self) -> float:
        """Return the moment, by the monotonic clock, until which a missing worker is waited for."""
        return time.monotonic() + self._worker_timeout

    def wait_a_moment(self, deadline: float) -> None:
        """Wait before the next look, not beyond ``deadline``."""
        self._raise_if_cancelled()
        self._wait(min(_LOOK_EVERY, max(deadline - time.monotonic(), 0.0)))

    def nodes(self) -> Sequence[Node]:
        """Return what the cluster's workers last reported."""
        return self._database.nodes.list(live_within=self._worker_timeout, cluster=self._cluster)

    def run(self, task_prefix: str, task_of: Callable[[str], Task[R]]) -> R:
        """Return the result of the task that ``task_of`` returns for the host ID of a live worker.

        :raises MissingWorker: if there is no usable worker.
        :raises BackupError: what the task raised.
        """
        usable = self._usable()
        outcome: Outcome | None = None
        for node in usable if self._try_others else usable[:1]:
            member, worker_id = node.report.member, node.report.worker_id
            assert member is not None
            if outcome is not None and not self._is_live(worker_id):
                continue  # it has not reported since; deadlines must not add up
            task = task_of(member.host_id)
            call = call_of(task, member, worker_id, f"{task_prefix}:{time.time_ns()}")
            (outcome,) = self._fanout.run([call])
            if not isinstance(outcome.error, WrongNode | StillUnavailable):
                break
        assert outcome is not None
        return result_of(type(task), outcome)

    def _usable(self) -> list[Node]:
        deadline = self.deadline()
        while True:
            nodes = self.nodes()
            usable = [n for n in nodes if n.live and n.report.member and not n.report.problem]
            if usable:
                return usable
            if time.monotonic() > deadline:
                break
            self.wait_a_moment(deadline)
        seen = "; ".join(
            f"{n.report.hostname}: {n.report.problem or 'no report since'} "
            f"{n.last_seen:%H:%M:%S} UTC"
            for n in nodes
        )
        raise MissingWorker(
            f"cluster {self._cluster!r} has no usable worker ({seen or 'none known'}); "
            "start magnetodb-backup-worker on its nodes"
        )

    def _is_live(self, worker_id: str) -> bool:
        return any(n.live and n.report.worker_id == worker_id for n in self.nodes())
