# SPDX-License-Identifier: Apache-2.0
"""What a history consists of. An operation on what does not exist then does nothing.

So a part of a history is a history. Times (``at``) are those of USING TIMESTAMP, in microseconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tests.lab.histories.rows import Clustering
from tests.lab.histories.values import Written


class Ttl(enum.Enum):
    """How long a write lives: no history lasts as long as LONG, and SHORT is waited for."""

    NONE = 0
    SHORT = 1
    LONG = 10 * 86400


class How(enum.Enum):
    """What a write does to a column; the last two are for collections."""

    SET = "="
    ADD = "+"
    REMOVE = "-"


@dataclass(frozen=True)
class Change:
    """A change of one column; None deletes."""

    column: str
    how: How
    value: Written | None


@dataclass(frozen=True)
class Write:
    """INSERT or UPDATE of a row or, without ``clustering``, of the static columns."""

    table: str
    key: int
    clustering: Clustering | None
    changes: tuple[Change, ...]
    is_insert: bool
    ttl: Ttl
    at: int


@dataclass(frozen=True)
class Bound:
    """A limit of a range of clustering values."""

    value: int
    is_inclusive: bool


@dataclass(frozen=True)
class Where:
    """Rows of a partition: those that begin with ``prefix``, and have the next value in a range."""

    prefix: Clustering = ()
    lower: Bound | None = None
    upper: Bound | None = None

    @property
    def is_range(self) -> bool:
        """Return whether it is bounded by more than equality."""
        return self.lower is not None or self.upper is not None

    def has(self, clustering: Clustering) -> bool:
        """Return whether a row is among them."""
        count = len(self.prefix)
        if clustering[:count] != self.prefix:
            return False
        if not self.is_range:
            return True
        value, low, high = clustering[count], self.lower, self.upper
        above = low is None or value > low.value or (low.is_inclusive and value == low.value)
        below = high is None or value < high.value or (high.is_inclusive and value == high.value)
        return above and below


@dataclass(frozen=True)
class Delete:
    """DELETE of a partition, a range, a row or, with ``columns``, of their values.

    A column may have the key of an element of its collection.
    """

    table: str
    key: int
    where: Where
    columns: tuple[tuple[str, int | None], ...]
    at: int


@dataclass(frozen=True)
class Count:
    """A change of a counter; Cassandra gives it the time."""

    table: str
    key: int
    by: int


@dataclass(frozen=True)
class Flush:
    """Write the table's memory to disk."""

    table: str


@dataclass(frozen=True)
class Compact:
    """Compact all SSTables of the table into one."""

    table: str


@dataclass(frozen=True)
class Truncate:
    """TRUNCATE."""

    table: str


@dataclass(frozen=True)
class DropTable:
    """DROP TABLE; ``leaves_files`` as a crash in between does."""

    table: str
    leaves_files: bool


@dataclass(frozen=True)
class DropKeyspace:
    """DROP KEYSPACE."""


@dataclass(frozen=True)
class CreateTable:
    """CREATE TABLE, with its keyspace if that is missing."""

    table: str
    variant: int


@dataclass(frozen=True)
class AddColumn:
    """ALTER TABLE … ADD; a column that was dropped comes back with its type."""

    table: str
    column: str


@dataclass(frozen=True)
class DropColumn:
    """ALTER TABLE … DROP."""

    table: str
    column: str
    at: int


Operation = (
    Write
    | Delete
    | Count
    | Flush
    | Compact
    | Truncate
    | DropTable
    | DropKeyspace
    | CreateTable
    | AddColumn
    | DropColumn
)
