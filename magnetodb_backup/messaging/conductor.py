# SPDX-License-Identifier: Apache-2.0
"""The conductor on the bus: endpoint and client."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

import oslo_messaging

from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.messaging.bus import CONDUCTOR_TOPIC, bus_errors, make_client
from magnetodb_backup.messaging.endings import TaskEndings
from magnetodb_backup.tasks.kinds import TaskStatus

# Bytes of a status that travels with the message; a larger one is asked for. Messages to a
# conductor that was stopped stay in the broker, so they must be small.
_LARGEST_STATUS = 16 * 1024


class ConductorEndpoint:
    """Methods that a conductor offers.

    ``take_report`` records a report and returns the IDs of backups whose snapshots must stay;
    ``ended_restores`` returns which of some restores have ended, with whether to keep their fetched
    files; ``wake`` makes the conductor look for jobs at once; ``endings`` gets the ends of tasks.
    """

    target = oslo_messaging.Target(version="1.2")

    def __init__(
        self,
        take_report: Callable[[NodeReport], tuple[str, ...]],
        ended_restores: Callable[[Collection[str]], Mapping[str, bool]],
        wake: Callable[[], None],
        endings: TaskEndings,
    ) -> None:
        self._take_report, self._ended_restores = take_report, ended_restores
        self._wake = wake
        self._endings = endings

    @oslo_messaging.expose
    def report(self, context: Mapping[str, Any], report: dict[str, Any]) -> list[str]:
        """Record a report; return the IDs of live backups and restores."""
        return list(self._take_report(NodeReport.from_json(report)))

    @oslo_messaging.expose
    def ended_restores(self, context: Mapping[str, Any], restores: list[str]) -> dict[str, bool]:
        """Return those of the restores that have ended, with whether to keep their files."""
        return dict(self._ended_restores(restores))

    @oslo_messaging.expose
    def look_for_jobs(self, context: Mapping[str, Any]) -> None:
        """Wake the job loop."""
        self._wake()

    @oslo_messaging.expose
    def task_ended(
        self,
        context: Mapping[str, Any],
        worker_id: str,
        task_id: str,
        status: dict[str, Any] | None = None,
    ) -> None:
        """Take the end of a task; without a status, if that is too large for a message."""
        ended = None if status is None else TaskStatus.from_json(status)
        self._endings.publish(worker_id, task_id, ended)


class ConductorClient:
    """Calls any conductor. Raises WorkerUnavailable (no conductor) or BusUnavailable."""

    def __init__(self, transport: Any, timeout: float = 3.0) -> None:
        self._client = make_client(transport, CONDUCTOR_TOPIC, timeout)

    def report(self, report: NodeReport) -> frozenset[str]:
        """Report a node; return the IDs of the live backups of its cluster."""
        with bus_errors("the conductor"):
            return frozenset(self._client.call({}, "report", report=report.as_json()))

    def ended_restores(self, restores: Collection[str]) -> Mapping[str, bool]:
        """Return those of the restores that have ended, with whether to keep their fetched files.

        :raises WorkerUnavailable: also if the conductor is of an older release.
        """
        with bus_errors("the conductor"):
            answer: Mapping[str, bool] = self._client.prepare(version="1.2").call(
                {}, "ended_restores", restores=list(restores)
            )
        return answer

    def look_for_jobs(self) -> None:
        """Make the conductors look for jobs at once. A lost message costs one poll interval."""
        with bus_errors("the conductor"):
            self._client.prepare(fanout=True).cast({}, "look_for_jobs")

    def task_ended(self, conductor: str, worker_id: str, task_id: str, status: TaskStatus) -> None:
        """Send the end of a task to the conductor that waits for it.

        Nothing confirms it: that conductor also polls.
        """
        whole = status.as_json()
        small = len(json.dumps(whole)) <= _LARGEST_STATUS
        with bus_errors("the conductor"):
            self._client.prepare(server=conductor, version="1.1").cast(
                {},
                "task_ended",
                worker_id=worker_id,
                task_id=task_id,
                status=whole if small else None,
            )
