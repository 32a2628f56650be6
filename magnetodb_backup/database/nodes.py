# SPDX-License-Identifier: Apache-2.0
"""Reports of workers and signs of life of conductors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from sqlalchemy import ColumnElement, Double, delete, literal, select
from sqlalchemy.orm import Session

from magnetodb_backup.database.clock import DatabaseTime
from magnetodb_backup.database.models import ConductorRow, NodeRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.domain.ring import NodeReport

_FORGOTTEN_AFTER = 86400.0  # seconds; a conductor's name has its process ID and never comes again


def _node(row: NodeRow, now: float, live_within: float) -> Node:
    report, silent_for = NodeReport.from_json(row.report), now - row.last_seen
    return Node(
        report,
        datetime.fromtimestamp(row.first_seen, timezone.utc),
        datetime.fromtimestamp(row.last_seen, timezone.utc),
        silent_for <= live_within and not report.stopping,
        silent_for,
    )


class NodeStore:
    """Reads and writes reports.

    Times are by the database's clock: those of the conductors may differ. Tests set another
    ``clock``, which returns seconds since the epoch.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float] | None) -> None:
        self._transactions, self._clock = transactions, clock

    def _now(self) -> ColumnElement[float]:
        return DatabaseTime() if self._clock is None else literal(self._clock(), Double())

    def _read(self, session: Session) -> float:
        return float(session.scalars(select(self._now())).one())

    def now(self) -> float:
        """Return the time by the same clock, in seconds since the epoch."""
        return self._transactions.run(self._read)

    def report(self, report: NodeReport) -> None:
        """Record a worker's report as just received."""

        def work(session: Session) -> None:
            row = session.get(NodeRow, report.worker_id, with_for_update=True)
            seen = self._read(session)
            if row is None:
                row = NodeRow(worker_id=report.worker_id, first_seen=seen)
                session.add(row)
            row.cluster, row.report, row.last_seen = report.cluster, report.as_json(), seen

        self._transactions.write(work)

    def list(self, *, live_within: float, cluster: str | None = None) -> tuple[Node, ...]:
        """Return all workers' last reports, by ID.

        Live are those that reported in the last seconds and did not say that they stop.
        """

        def work(session: Session) -> tuple[Node, ...]:
            now = self._now().label("now")
            query = select(NodeRow, now).order_by(NodeRow.cluster, NodeRow.worker_id)
            if cluster is not None:
                query = query.where(NodeRow.cluster == cluster)
            found = session.execute(query).all()
            return tuple(_node(row, read_at, live_within) for row, read_at in found)

        return self._transactions.run(work)

    def clusters(self, live_within: float) -> tuple[str, ...]:
        """Return the names of the clusters that a worker reported in the last seconds."""
        nodes = self.list(live_within=live_within)
        return tuple(sorted({n.report.cluster for n in nodes if n.live and n.report.cluster}))

    def forget(self, worker_id: str) -> None:
        """Remove a worker's report."""

        def work(session: Session) -> None:
            session.execute(delete(NodeRow).where(NodeRow.worker_id == worker_id))

        self._transactions.write(work)

    def conductor_seen(self, name: str) -> None:
        """Record a conductor's sign of life."""

        def work(session: Session) -> None:
            seen = self._read(session)
            session.merge(ConductorRow(name=name, last_seen=seen))
            old = ConductorRow.last_seen < seen - _FORGOTTEN_AFTER
            session.execute(delete(ConductorRow).where(old))

        self._transactions.write(work)

    def conductors(self, live_within: float) -> tuple[str, ...]:
        """Return the names of conductors that gave a sign of life in the last seconds."""

        def work(session: Session) -> tuple[str, ...]:
            alive_since = self._now() - live_within
            query = select(ConductorRow.name).where(ConductorRow.last_seen >= alive_since)
            return tuple(session.scalars(query.order_by(ConductorRow.name)))

        return self._transactions.run(work)
