# SPDX-License-Identifier: Apache-2.0
"""What the stores of backups, restores and schedules do alike: find, list and change rows."""

from __future__ import annotations

import enum
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, delete, insert, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from magnetodb_backup.database.models import ListedRow, NodeRecordRow
from magnetodb_backup.database.session import Transactions
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound

Row = TypeVar("Row", bound=ListedRow)
NodeRow = TypeVar("NodeRow", bound=NodeRecordRow)
NodeRecord = TypeVar("NodeRecord")


def now() -> datetime:
    """Return the time, aware, in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Page:
    """What a list is asked for: at most ``limit`` records after ``marker``."""

    limit: int | None
    marker: str | None
    status: str | None
    cluster: str | None


@dataclass(frozen=True)
class Rows(Generic[Row]):
    """The rows of backups, restores or schedules; ``noun`` names one of them in messages.

    ``updatable`` are the columns that carry no state.
    """

    row: type[Row]
    noun: str
    statuses: type[enum.Enum]
    updatable: frozenset[str]

    def get(self, session: Session, id_: str, *, lock: bool = False) -> Row:
        """Return the row of exactly this ID, locked until the transaction ends if asked.

        :raises NotFound: naming the ID.
        """
        row = session.get(self.row, id_, with_for_update=lock or None)
        if row is None:
            raise NotFound(f"there is no {self.noun} {id_!r}; see {self.noun} list")
        return row

    def find(
        self, session: Session, text: str, named: Callable[[], Sequence[Row]] = lambda: ()
    ) -> Row:
        """Return the row by its ID, else the one ``named`` so, else by 8 or more digits of its ID.

        :raises NotFound: if there is none.
        :raises Conflict: if several match, naming them.
        """
        row = session.get(self.row, text)
        rows = [row] if row else list(named())
        if not rows and re.fullmatch("[0-9a-f-]{8,36}", text):
            query = select(self.row).where(self.row.id.startswith(text, autoescape=True))
            rows = list(session.scalars(query))
        if len(rows) > 1:
            ids = ", ".join(r.id for r in rows)
            raise Conflict(f"{text!r} may be any of {ids}; name one of them")
        return rows[0] if rows else self.get(session, text)

    def check_page(self, page: Page) -> None:
        """Check the limit and the status.

        :raises InvalidValue: for a status that does not exist, or a limit below 1.
        """
        if page.limit is not None and page.limit < 1:
            raise InvalidValue(f"limit is {page.limit}; use 1 or more")
        known = [str(status.value) for status in self.statuses]
        if page.status is not None and page.status not in known:
            raise InvalidValue(f"status is {page.status!r}; use one of {', '.join(known)}")

    def page(
        self,
        session: Session,
        page: Page,
        *others: Any,
        key: str,
        descending: bool,
        without: Collection[str] = (),
    ) -> Iterator[Any]:
        """Yield what a page has, sorted by a column; ``others`` are more conditions.

        Each has the columns of a row as attributes, except those ``without``, which are not read.

        :raises InvalidValue: for a marker that does not exist.
        """
        id_: InstrumentedAttribute[str] = self.row.id
        column: InstrumentedAttribute[Any] = getattr(self.row, key)
        columns = [c for c in self.row.__mapper__.columns if c.key not in without]
        query: Select[Any] = select(*columns).where(*others)
        if page.status is not None:
            query = query.where(self.row.status == page.status)
        if page.cluster is not None:
            query = query.where(self.row.cluster == page.cluster)
        if page.marker is not None:
            query = query.where(*self._after(session, page.marker, column, descending=descending))
        order = [c.desc() if descending else c for c in (column, id_)]
        yield from session.execute(query.order_by(*order).limit(page.limit))

    def _after(
        self,
        session: Session,
        marker: str,
        column: InstrumentedAttribute[Any],
        *,
        descending: bool,
    ) -> tuple[ColumnElement[bool], ...]:
        """Return the conditions of what follows the marker, the first one for the index."""
        id_: InstrumentedAttribute[str] = self.row.id
        last = session.execute(select(column).where(id_ == marker)).first()
        if last is None:
            raise InvalidValue(f"marker {marker!r} is no {self.noun}; use the last one's ID")
        (value,) = last
        later, not_before = (operator.lt, operator.le) if descending else (operator.gt, operator.ge)
        return not_before(column, value), or_(later(column, value), later(id_, marker))

    def check_updatable(self, values: Mapping[str, Any]) -> None:
        """Refuse values that carry state.

        :raises InvalidValue: naming them.
        """
        if unknown := set(values) - self.updatable:
            raise InvalidValue(f"not to be set this way: {', '.join(sorted(unknown))}")

    def set(self, row: Row, values: Mapping[str, Any]) -> None:
        """Set columns of a row, and the time of its change."""
        for name, value in values.items():
            setattr(row, name, value)
        row.updated_at = now()

    def ids(self, session: Session, cluster: str, status: enum.Enum) -> tuple[str, ...]:
        """Return the IDs of a cluster's rows with a status."""
        query = select(self.row.id)
        query = query.where(self.row.cluster == cluster, self.row.status == status.value)
        return tuple(session.scalars(query))


class NodeParts(Generic[NodeRow, NodeRecord]):
    """The nodes' parts of backups or of restores; ``key`` is the column of the whole's ID."""

    def __init__(
        self,
        transactions: Transactions,
        row: type[NodeRow],
        key: str,
        read: Callable[[Mapping[str, Any]], NodeRecord],
    ) -> None:
        self._transactions, self._row, self._key, self._read = transactions, row, key, read

    def of(self, id_: str) -> tuple[NodeRecord, ...]:
        """Return the nodes' parts of one backup or restore, by host ID."""

        def work(session: Session) -> tuple[NodeRecord, ...]:
            query = select(self._row).where(getattr(self._row, self._key) == id_)
            rows = session.scalars(query.order_by(self._row.host_id))
            return tuple(self._read(row.record) for row in rows)

        return self._transactions.run(work)

    def put(self, node: NodeRecord) -> None:
        """Write a node's part over the stored one."""
        self._transactions.write(lambda session: self.merge(session, node))

    def replace(self, session: Session, parts: Mapping[str, Sequence[Any]]) -> None:
        """Write the nodes' parts of several backups or restores over all that are stored."""
        key = getattr(self._row, self._key)
        session.execute(delete(self._row).where(key.in_(parts)))
        rows = [
            {self._key: id_, "host_id": node.host_id, "record": asdict(node)}
            for id_, nodes in parts.items()
            for node in nodes
        ]
        if rows:
            session.execute(insert(self._row), rows)

    def merge(self, session: Session, node: Any) -> None:
        """Write a node's part in a transaction."""
        keys = {name: getattr(node, name) for name in (self._key, "host_id")}
        session.merge(self._row(**keys, record=asdict(node)))
