# SPDX-License-Identifier: Apache-2.0
"""Lets one usable worker of a cluster do what any of them can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.errors import MissingWorker, StillUnavailable, WrongNode
from magnetodb_backup.tasks.kinds import TaskKind

_LOOK_EVERY = 1.0  # seconds between two looks for a missing worker


class Asking:
    """Asks workers of one cluster. ``worker_timeout`` in seconds.

    With ``try_others`` the next worker is asked if it is the node of the first one that fails.
    """

    def __init__(
        self,
        database: Database,
        fanout: Fanout,
        cluster: str,
        *,
        check: Callable[[], None],
        wait: Callable[[float], None],
        worker_timeout: float,
        try_others: bool,
    ) -> None:
        self._database, self._fanout, self._cluster = database, fanout, cluster
        self._check, self._wait = check, wait
        self._worker_timeout, self._try_others = worker_timeout, try_others

    def deadline(self) -> float:
        """Return the moment, by the monotonic clock, until which a missing worker is waited for."""
        return time.monotonic() + self._worker_timeout

    def wait_a_moment(self, deadline: float) -> None:
        """Wait before the next look, not beyond ``deadline``."""
        self._check()
        self._wait(min(_LOOK_EVERY, max(deadline - time.monotonic(), 0.0)))

    def nodes(self) -> Sequence[Node]:
        """Return what the cluster's workers last reported."""
        return self._database.nodes.list(live_within=self._worker_timeout, cluster=self._cluster)

    def any(
        self, task_prefix: str, kind: TaskKind, arguments: Callable[[str], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """Return the result of the task; ``arguments`` are made for the host ID that is asked.

        :raises MissingWorker: if there is no usable worker.
        """
        usable = self._usable()
        outcome: Outcome | None = None
        for node in usable if self._try_others else usable[:1]:
            member = node.report.member
            assert member is not None
            if outcome is not None and not self._is_live(node.report.worker_id):
                continue  # it has not reported since; deadlines must not add up
            call = Call(
                host_id=member.host_id,
                host=member.address,
                worker_id=node.report.worker_id,
                task_id=f"{task_prefix}:{time.time_ns()}",
                kind=kind,
                arguments=arguments(member.host_id),
            )
            (outcome,) = self._fanout.run([call])
            if not isinstance(outcome.error, WrongNode | StillUnavailable):
                break
        assert outcome is not None
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

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
