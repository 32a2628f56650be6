# SPDX-License-Identifier: Apache-2.0
"""Reads all rows of a token range as Cassandra's own JSON text, page by page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from magnetodb_backup.cassandra.cql.session import PAGE_SIZE, Page, PinnedSession
from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    CommandFailed,
    UnknownTable,
)

LOG = logging.getLogger(__name__)
# All replicas, since a restore brings back the rows of each; a quorum if one is down.
CONSISTENCIES = ("ALL", "QUORUM")
# Of a backup of one data centre: the others may be out of reach.
LOCAL_CONSISTENCIES = ("ALL", "LOCAL_QUORUM")
_ROWS = 200  # of the first page
_MOST_ROWS = 5000
_CHARACTERS = 1 << 20  # of a page, about
_TRIES = 4  # of a page
_PAUSE = 0.5  # seconds before the second try; it doubles


def range_query(table: TableName, partition_key: Sequence[str], range_: TokenRange) -> str:
    """Return the query for all rows of a range, as JSON, in token order."""
    token = f"token({', '.join(quoted(k) for k in partition_key)})"
    return (
        f"SELECT JSON * FROM {quoted(table.keyspace)}.{quoted(table.table)} "  # noqa: S608
        f"WHERE {token} > {range_.start} AND {token} <= {range_.end}"
    )


def quoted(name: str) -> str:
    """Return the name in quotes: it may be a reserved word."""
    return '"' + name.replace('"', '""') + '"'


def partition_key(session: PinnedSession, table: TableName) -> list[str]:
    """Return the columns of a table's partition key, in order.

    :raises UnknownTable: if the table does not exist.
    """
    return columns_by_kind(session, table)["partition_key"]


def columns_by_kind(session: PinnedSession, table: TableName) -> Mapping[str, list[str]]:
    """Return a table's columns by kind (partition_key, clustering, static, regular), in order.

    :raises UnknownTable: if the table does not exist.
    """
    columns = session.rows(
        "SELECT column_name, kind, position FROM system_schema.columns "
        "WHERE keyspace_name = %s AND table_name = %s",
        (table.keyspace, table.table),
    )
    found: dict[str, list[str]] = {}
    for column in sorted(columns, key=lambda c: (c.position, c.column_name)):
        found.setdefault(column.kind, []).append(column.column_name)
    if "partition_key" not in found:
        raise UnknownTable(f"Cassandra has no table {table}")
    return found


def masked_problem(table: TableName, columns: Collection[str]) -> str:
    """Return why a table with masked columns is not read, and the remedy."""
    return (
        f"the role of [cassandra] username reads masks instead of the values of "
        f"{', '.join(sorted(columns))} in {table}; GRANT UNMASK ON TABLE {table} to it"
    )


class RowReader:
    """Reads ranges of tables. Memory is bounded by the size of a page.

    Reads from all replicas, at the first of the consistency ``levels``; after a failure this object
    reads at the next one, from a quorum.
    ``raise_if_cancelled`` is called before each page and raises to stop. ``masked`` returns the
    columns of a table whose values the session's role cannot read.
    """

    def __init__(
        self,
        session: PinnedSession,
        raise_if_cancelled: Callable[[], None],
        masked: Callable[[TableName], Collection[str]],
        sleep: Callable[[float], None] = time.sleep,
        levels: tuple[str, str] = CONSISTENCIES,
    ) -> None:
        self._masked = masked
        self._session, self._raise_if_cancelled, self._sleep = session, raise_if_cancelled, sleep
        self._level, self._fallback = levels
        self._most_rows = _MOST_ROWS

    def pages(self, table: TableName, range_: TokenRange) -> Iterator[list[str]]:
        """Yield the texts of the rows, a page at a time.

        :raises UnknownTable: if there is no such table.
        :raises AccessDenied: if the role would read masks instead of values.
        :raises CassandraUnavailable: if too few replicas answered in several attempts.
        :raises CommandFailed: if Cassandra refuses to read the table.
        """
        if masked := self._masked(table):
            raise AccessDenied(masked_problem(table, masked))
        query = range_query(table, partition_key(self._session, table), range_)
        size, after = _ROWS, None
        while True:
            page, size = self._page(query, size, after)
            texts = [str(row[0]) for row in page.rows]
            yield texts
            if page.next is None:
                return
            after = page.next
            if texts:
                characters = max(sum(map(len, texts)), 1)
                size = max(min(len(texts) * _CHARACTERS // characters, self._most_rows), 1)

    def _page(self, query: str, size: int, after: bytes | None) -> tuple[Page, int]:
        """Return a page and the page size that was successful."""
        pause, tries = _PAUSE, 1
        while True:
            self._raise_if_cancelled()
            level = self._level
            try:
                return self._session.page(query, size=size, after=after, consistency=level), size
            except CommandFailed as error:
                if PAGE_SIZE not in str(error) or size == 1:
                    raise
                size = self._most_rows = size // 2
            except CassandraUnavailable as error:
                size = max(size // 4, 1)  # the page may have been too large for the time-out
                LOG.info("%s; trying again", error)
                tries += 1
                if tries > _TRIES:
                    if level == self._fallback:
                        raise
                    LOG.warning("rows are read at %s from now on: %s", self._fallback, error)
                    self._level = self._fallback
                    tries, pause = 1, _PAUSE
                self._sleep(pause)
                pause *= 2
