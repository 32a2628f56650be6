# SPDX-License-Identifier: Apache-2.0
"""Which conductor owns a job or a cluster, and transactions that only its owner can commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Update, delete, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from magnetodb_backup.database.clock import DatabaseTime
from magnetodb_backup.database.models import OwnershipRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.domain.jobs import Fence, Resource
from magnetodb_backup.errors import OwnershipLost

_UNOWNED = ""
_UNSYNCHRONIZED = {"synchronize_session": False}  # no session keeps these rows as objects


def claim(
    session: Session, resources: Collection[Resource], owner: str, timeout: float
) -> Fence | None:
    """Claim all resources in the session's transaction; None if one of them has a live owner.

    An owner is live until its heartbeat is ``timeout`` seconds old. The time of a heartbeat that
    lies as far in the future counts as old: the database's clock was set back meanwhile.
    """
    found = _look(session, resources, lock=False)
    if _has_live_owner(found.values(), timeout):
        return None  # found without a lock, so that no write waits for this look
    for resource in sorted(set(resources) - set(found)):
        session.add(OwnershipRow(resource=resource.key, owner="", generation=0, heartbeat=0.0))
    session.flush()
    found = _look(session, resources, lock=True)
    if _has_live_owner(found.values(), timeout):
        return None
    generations = tuple((r, found[r].generation + 1) for r in sorted(resources))
    for resource, generation in generations:
        values = {"owner": owner, "generation": generation, "heartbeat": DatabaseTime()}
        session.execute(_at(resource).values(values), execution_options=_UNSYNCHRONIZED)
    return Fence(owner, generations)


def _look(session: Session, resources: Collection[Resource], *, lock: bool) -> dict[Resource, Any]:
    """Return owner, generation and seconds since the heartbeat of what has a row."""
    age = (DatabaseTime() - OwnershipRow.heartbeat).label("age")
    query = select(OwnershipRow.resource, OwnershipRow.owner, OwnershipRow.generation, age)
    query = query.where(OwnershipRow.resource.in_([r.key for r in resources]))
    if lock:
        query = query.order_by(OwnershipRow.resource).with_for_update()
    return {Resource(row.resource): row for row in session.execute(query)}


def _has_live_owner(rows: Iterable[Any], timeout: float) -> bool:
    return any(row.owner != _UNOWNED and abs(row.age) < timeout for row in rows)


def _at(resource: Resource) -> Update:
    return update(OwnershipRow).where(OwnershipRow.resource == resource.key)


def confirm(session: Session, fence: Fence, *, lock: bool) -> None:
    """Check that the fence still holds; ``lock`` keeps it so until the transaction ends.

    :raises OwnershipLost: if it does not.
    """
    found = _look(session, [resource for resource, _ in fence.generations], lock=lock)
    for resource, generation in fence.generations:
        row = found.get(resource)
        if row is None or (row.owner, row.generation) != (fence.owner, generation):
            raise OwnershipLost(
                f"{resource.key} is no longer owned by {fence.owner} in generation {generation}"
            )


def forget(session: Session, resource: Resource) -> None:
    """Remove the row of a resource that is not claimed again."""
    statement = delete(OwnershipRow).where(OwnershipRow.resource == resource.key)
    session.execute(statement, execution_options=_UNSYNCHRONIZED)


class FencedTransactions(Transactions):
    """Transactions whose writes are committed only while the fence holds."""

    def __init__(self, engine: Any, fence: Fence, *, patience: float = 10.0) -> None:
        super().__init__(engine, patience=patience)
        self._fence = fence

    def confirm(self, session: Session, *, lock: bool) -> None:
        """Check the fence.

        :raises OwnershipLost: if the generation is another one by now.
        """
        confirm(session, self._fence, lock=lock)


class OwnershipStore:
    """Renews and releases what conductors own; each method is one transaction."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def claim(self, resources: Collection[Resource], owner: str, *, timeout: float) -> Fence | None:
        """Claim all of the resources, or none (None) if one has a live owner.

        ``timeout``: seconds after its last heartbeat for which an owner counts as live.
        """
        return self._transactions.run(lambda s: claim(s, resources, owner, timeout))

    def renew(self, fences: Collection[Fence]) -> frozenset[Fence]:
        """Set the heartbeat of all fences to now; return those that do not hold any more."""

        def work(session: Session) -> frozenset[Fence]:
            values = {"heartbeat": DatabaseTime()}
            return frozenset(f for f in fences if not _update(session, f, values))

        return self._transactions.run(work)

    def release(self, fence: Fence) -> None:
        """Let others claim the resources at once; those already lost are not changed."""

        def work(session: Session) -> None:
            _update(session, fence, {"owner": _UNOWNED})

        self._transactions.run(work)

    def holds(self, fence: Fence) -> bool:
        """Return whether the fence still holds."""

        def work(session: Session) -> bool:
            try:
                confirm(session, fence, lock=False)
            except OwnershipLost:
                return False
            return True

        return self._transactions.run(work)


def _update(session: Session, fence: Fence, values: dict[str, Any]) -> bool:
    """Set columns of the rows that the fence still holds; return whether it holds them all."""
    held = True
    for resource, generation in fence.generations:
        statement = _at(resource).where(
            OwnershipRow.owner == fence.owner, OwnershipRow.generation == generation
        )
        result = session.execute(statement.values(values), execution_options=_UNSYNCHRONIZED)
        assert isinstance(result, CursorResult)
        held = bool(result.rowcount) and held
    return held
