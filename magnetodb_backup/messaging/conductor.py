# SPDX-License-Identifier: Apache-2.0
"""The conductor on the bus: endpoint and client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import oslo_messaging

from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.messaging.bus import CONDUCTOR_TOPIC, bus_errors, make_client


class ConductorEndpoint:
    """Methods that a conductor offers.

    ``take_report`` records a report and returns the IDs of backups whose snapshots must stay;
    ``wake`` makes the conductor look for jobs at once.
    """

    target = oslo_messaging.Target(version="1.0")

    def __init__(
        self, take_report: Callable[[NodeReport], tuple[str, ...]], wake: Callable[[], None]
    ) -> None:
        self._take_report = take_report
        self._wake = wake

    @oslo_messaging.expose
    def report(self, context: Mapping[str, Any], report: dict[str, Any]) -> list[str]:
        """Record a report; return the IDs of live backups and restores."""
        return list(self._take_report(NodeReport.from_json(report)))

    @oslo_messaging.expose
    def look_for_jobs(self, context: Mapping[str, Any]) -> None:
        """Wake the job loop."""
        self._wake()


class ConductorClient:
    """Calls any conductor. Raises WorkerUnavailable (no conductor) or BusUnavailable."""

    def __init__(self, transport: Any, timeout: float = 3.0) -> None:
        self._client = make_client(transport, CONDUCTOR_TOPIC, timeout)

    def report(self, report: NodeReport) -> frozenset[str]:
        """Report a node; return the IDs of the live backups of its cluster."""
        with bus_errors("the conductor"):
            return frozenset(self._client.call({}, "report", report=report.as_json()))

    def look_for_jobs(self) -> None:
        """Tell the conductors that there is a job. A lost call costs one poll interval."""
        with bus_errors("the conductor"):
            self._client.prepare(fanout=True).cast({}, "look_for_jobs")
