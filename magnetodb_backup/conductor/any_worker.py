# SPDX-License-Identifier: Apache-2.0
"""Runs a cluster-wide task on any one live worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from magnetodb_backup.conductor.calls import call_of, result_of
from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.errors import MissingWorker, StillUnavailable, Transient, WrongNode
from magnetodb_backup.tasks.kinds import Task

R = TypeVar("R")
_LOOK_EVERY = 1.0  # seconds between two looks for a missing worker


@dataclass(frozen=True)
class Choice:
    """The workers of a cluster among which one is chosen.

    With ``data_centers`` only theirs; with ``try_others`` the next worker gets a task if the node
    of the first one fails.
    """

    cluster: str
    try_others: bool
    data_centers: Sequence[str] = ()


@dataclass(frozen=True)
class WorkerWaits:
    """How long workers are waited for, in seconds.

    A missing one is waited for during ``worker_timeout``, and one that fell silent less than
    ``outage_deadline`` ago until then: the broker, or its host, may only restart. With ``endures``
    they are waited for without end. ``show`` gets the reason for a wait, and an empty text at its
    end.
    """

    worker_timeout: float
    outage_deadline: float
    endures: bool = False
    show: Callable[[str], None] = lambda text: None


class AnyWorker:
    """Runs tasks on one live worker of those to choose from.

    ``raise_if_cancelled`` raises if this process must stop the job.
    """

    def __init__(
        self,
        database: Database,
        fanout: Fanout,
        choice: Choice,
        *,
        raise_if_cancelled: Callable[[], None],
        wait: Callable[[float], None],
        waits: WorkerWaits,
    ) -> None:
        self._database, self._fanout, self._choice = database, fanout, choice
        self._raise_if_cancelled, self._wait = raise_if_cancelled, wait
        self._waits = waits

    def deadline(self) -> float:
        """Return the moment, by the monotonic clock, until which a missing worker is waited for."""
        return time.monotonic() + self._waits.worker_timeout

    def is_late(
        self, deadline: float, nodes: Sequence[Node], missing: Collection[str] | None = None
    ) -> bool:
        """Return whether workers that are missing by now are not waited for any more.

        ``nodes`` are what the workers last reported, ``missing`` the host IDs of the nodes whose
        workers are missing; None for all.
        """
        if self._waits.endures or time.monotonic() <= deadline:
            return False
        return not any(
            not node.live
            and not node.report.stopping
            and node.silent_for < self._waits.outage_deadline
            and node.report.member is not None
            and (missing is None or node.report.member.host_id in missing)
            for node in nodes
        )

    def wait_a_moment(self, deadline: float) -> None:
        """Wait before the next look, not beyond a ``deadline`` that is to come."""
        self._raise_if_cancelled()
        left = deadline - time.monotonic()
        self._wait(min(_LOOK_EVERY, left) if left > 0 else _LOOK_EVERY)

    def nodes(self) -> Sequence[Node]:
        """Return what the cluster's workers last reported."""
        return self._database.nodes.list(
            live_within=self._waits.worker_timeout, cluster=self._choice.cluster
        )

    def run(self, task_prefix: str, task_of: Callable[[str], Task[R]]) -> R:
        """Return the result of the task that ``task_of`` returns for the host ID of a live worker.

        :raises MissingWorker: if there is no usable worker.
        :raises BackupError: what the task raised.
        """
        usable = self._usable()
        outcome: Outcome | None = None
        for node in usable if self._choice.try_others else usable[:1]:
            member, worker_id = node.report.member, node.report.worker_id
            assert member is not None
            if outcome is not None and not self._is_live(worker_id):
                continue  # it has not reported since; deadlines must not add up
            task = task_of(member.host_id)
            call = call_of(task, member, worker_id, f"{task_prefix}:{time.time_ns()}")
            (outcome,) = self._fanout.run([call], troubled=self._show_trouble)
            if not isinstance(outcome.error, WrongNode | StillUnavailable):
                break
        assert outcome is not None
        return result_of(type(task), outcome)

    def _usable(self) -> list[Node]:
        deadline, waited = self.deadline(), False
        while True:
            nodes = [n for n in self.nodes() if self._is_eligible(n)]
            usable = [n for n in nodes if n.live and n.report.member and not n.report.problem]
            if usable:
                if waited:
                    self._waits.show("")
                return usable
            if self.is_late(deadline, nodes):
                raise MissingWorker(self._missing(nodes))
            self._waits.show(self._missing(nodes))
            waited = True
            self.wait_a_moment(deadline)

    def _missing(self, nodes: Sequence[Node]) -> str:
        seen = "; ".join(
            f"{n.report.hostname}: {n.report.problem or 'no report since'} "
            f"{n.last_seen:%H:%M:%S} UTC"
            for n in nodes
        )
        data_centers = self._choice.data_centers
        where = f" in {as_text(data_centers)}" if data_centers else ""
        return (
            f"cluster {self._choice.cluster!r} has no usable worker{where} "
            f"({seen or 'none known'}); start magnetodb-backup-worker on its nodes"
        )

    def _show_trouble(self, call: Call, error: Transient | None) -> None:
        self._waits.show("" if error is None else f"node {call.host}: {error}")

    def _is_eligible(self, node: Node) -> bool:
        """Return whether the node is one to choose from, or not known yet."""
        member, data_centers = node.report.member, self._choice.data_centers
        return not data_centers or member is None or member.dc in data_centers

    def _is_live(self, worker_id: str) -> bool:
        return any(n.live and n.report.worker_id == worker_id for n in self.nodes())
