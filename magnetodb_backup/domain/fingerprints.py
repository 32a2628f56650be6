# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of the rows in token ranges, with which the rows of a restore are compared.

A fingerprint is the row count and a digest of all rows of a range. It is taken twice, before and
after the snapshots: a range that did not change in between is in the snapshots as it was read.
"""

from __future__ import annotations

import enum
import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

from magnetodb_backup.domain.partitioners import MURMUR3, Partitioner
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import TableName

MOST_RANGES = 64
_SHOWN = 20  # ranges that differ, by table, that a record has room for


@dataclass(frozen=True, order=True)
class TokenRange:
    """The tokens after ``start``, up to and including ``end``; never across the ring's end."""

    start: int
    end: int

    def as_json(self) -> list[str]:
        """Return the two tokens as text, since they have up to 128 bits."""
        return [str(self.start), str(self.end)]

    @classmethod
    def from_json(cls, data: Sequence[str]) -> TokenRange:
        """Read what ``as_json()`` returned."""
        start, end = data
        return cls(int(start), int(end))

    def __str__(self) -> str:
        return f"({self.start}, {self.end}]"


def split_ring(
    tokens: Iterable[int], most: int = MOST_RANGES, partitioner: Partitioner = MURMUR3
) -> tuple[TokenRange, ...]:
    """Return at most ``most`` (at least 2) ranges with each token of the ring once, in order.

    They end where the ranges of the ring end, or divide those evenly. Together they have all keys.
    """
    lowest, highest = partitioner.lowest, partitioner.highest
    ends = sorted({t for t in tokens if t != lowest} | {highest})
    if len(ends) > most:
        step = -(-len(ends) // most)
        ends = [*ends[step - 1 : -1 : step], highest]
    parts = max(most // len(ends), 1)
    ranges, start = [], lowest
    for end in ends:
        width = end - start
        bounds = sorted({start + width * n // parts for n in range(parts + 1)})
        ranges += [TokenRange(a, b) for a, b in pairwise(bounds)]
        start = end
    return tuple(ranges)


def covers(ranges: Sequence[TokenRange], partitioner: Partitioner) -> bool:
    """Return whether the sorted ranges have the tokens of all keys."""
    end = partitioner.lowest
    for each in ranges:
        if each.start > end:
            return False
        end = max(end, each.end)
    return end >= partitioner.highest


def assign_ranges(
    ranges: Sequence[TokenRange], ring: Sequence[RingMember], present: Collection[str]
) -> dict[str, tuple[TokenRange, ...]]:
    """Return the ranges that each node reads, by host ID: those whose end it owns.

    Ranges of a node that is not ``present`` (host IDs) are assigned to the next one in the ring.
    """
    owners = sorted((t, m.host_id) for m in ring for t in m.tokens if m.host_id in present)
    tokens = [token for token, _ in owners]
    assigned: dict[str, list[TokenRange]] = {}
    for each in ranges if owners else ():
        _, host_id = owners[bisect_left(tokens, each.end) % len(owners)]
        assigned.setdefault(host_id, []).append(each)
    return {host_id: tuple(found) for host_id, found in assigned.items()}


@dataclass(frozen=True)
class Fingerprint:
    """The number of rows, and the SHA-256 (hex) of their texts, each followed by LF."""

    rows: int
    sha256: str


class RowDigest:
    """Computes a fingerprint from rows in token order."""

    def __init__(self) -> None:
        self._rows, self._digest = 0, hashlib.sha256()

    def add(self, rows: Iterable[str]) -> None:
        """Count and digest rows, each as the text of ``SELECT JSON *``."""
        for text in rows:
            self._rows += 1
            self._digest.update(text.encode(errors="surrogatepass"))
            self._digest.update(b"\n")

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of all rows added so far."""
        return Fingerprint(self._rows, self._digest.hexdigest())


class RangeState(str, enum.Enum):
    """The state of a range: STEADY ones can be compared.

    CHANGING: its rows changed while the backup was made. UNREAD: it could not be read.
    """

    STEADY = "steady"
    CHANGING = "changing"
    UNREAD = "unread"


@dataclass(frozen=True)
class RangeFingerprint:
    """A range of a table; a steady one has a ``fingerprint``."""

    table: TableName
    range: TokenRange
    state: RangeState
    fingerprint: Fingerprint | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the members of the line; only a steady range has ``rows`` and ``sha256``."""
        document: dict[str, Any] = {
            "keyspace": self.table.keyspace,
            "table": self.table.table,
            "start": str(self.range.start),
            "end": str(self.range.end),
            "state": self.state.value,
        }
        return document if self.fingerprint is None else {**document, **asdict(self.fingerprint)}


def read_once(
    table: TableName, range_: TokenRange, fingerprint: Fingerprint | None
) -> RangeFingerprint:
    """Return the result of one read of a range; None means that it could not be read."""
    state = RangeState.UNREAD if fingerprint is None else RangeState.STEADY
    return RangeFingerprint(table, range_, state, fingerprint)


def settled(before: RangeFingerprint, after: RangeFingerprint) -> RangeFingerprint:
    """Combine two reads of one range."""
    if before.fingerprint is None or after.fingerprint is None:
        return read_once(after.table, after.range, None)
    if before.fingerprint != after.fingerprint:
        return replace(after, state=RangeState.CHANGING, fingerprint=None)
    return after


@dataclass(frozen=True)
class TableFingerprints:
    """How many ranges of a table are in each state."""

    steady: int = 0
    changing: int = 0
    unread: int = 0

    def plus(self, state: RangeState) -> TableFingerprints:
        """Count one more range."""
        return replace(self, **{state.value: getattr(self, state.value) + 1})


@dataclass(frozen=True)
class TableCheck:
    """A restored table compared with its fingerprints.

    Counts are of ranges; ``changing`` and ``unread`` ones could not be compared. Rows are counted
    in the compared ranges. ``differences`` are the first ranges that differ.
    """

    equal: int = 0
    different: int = 0
    changing: int = 0
    unread: int = 0
    rows_expected: int = 0
    rows_found: int = 0
    differences: tuple[Mapping[str, Any], ...] = field(default=())

    def compared(self, expected: RangeFingerprint, found: Fingerprint) -> TableCheck:
        """Return this with one more compared range."""
        assert expected.fingerprint is not None
        shown = self.differences
        if found != expected.fingerprint and len(shown) < _SHOWN:
            difference = {
                "start": str(expected.range.start),
                "end": str(expected.range.end),
                "rows_expected": expected.fingerprint.rows,
                "rows_found": found.rows,
            }
            shown = (*shown, difference)
        same = found == expected.fingerprint
        return replace(
            self,
            equal=self.equal + same,
            different=self.different + (not same),
            rows_expected=self.rows_expected + expected.fingerprint.rows,
            rows_found=self.rows_found + found.rows,
            differences=shown,
        )

    def left_out(self, state: RangeState) -> TableCheck:
        """Return this with one more range that could not be compared."""
        return replace(self, **{state.value: getattr(self, state.value) + 1})

    def with_others(self, other: TableCheck) -> TableCheck:
        """Return the sum of this and the check of another node."""
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__dataclass_fields__
            if name != "differences"
        }
        return TableCheck(**sums, differences=(*self.differences, *other.differences)[:_SHOWN])

    def as_json(self) -> dict[str, Any]:
        """Return the check in the form of records and of the REST API."""
        return {**asdict(self), "differences": [dict(d) for d in self.differences]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableCheck:
        """Read what ``as_json()`` returned."""
        return cls(**{**data, "differences": tuple(data["differences"])})

    def as_text(self) -> str:
        """Return the check as one line of text."""
        compared = self.equal + self.different
        line = f"{self.equal} of {compared} token ranges equal, {self.rows_found} rows"
        if self.rows_found != self.rows_expected:
            line += f" of {self.rows_expected}"
        if self.changing:
            line += f"; {self.changing} ranges changed while the backup was made: not compared"
        if self.unread:
            line += f"; {self.unread} ranges could not be read for the backup: not compared"
        return line


def merged_checks(parts: Iterable[Mapping[str, TableCheck]]) -> dict[str, TableCheck]:
    """Merge the checks of all nodes, by table."""
    merged: dict[str, TableCheck] = {}
    for part in parts:
        for table, found in part.items():
            merged[table] = merged.get(table, TableCheck()).with_others(found)
    return {table: merged[table] for table in sorted(merged)}


def difference_texts(checks: Mapping[str, TableCheck]) -> Iterator[str]:
    """Yield a text for each differing table, with its ranges and numbers of rows."""
    for table, check in sorted(checks.items()):
        if check.different:
            named = ", ".join(
                f"({d['start']}, {d['end']}] {d['rows_found']} rows of {d['rows_expected']}"
                for d in check.differences[:3]
            )
            more = check.different - min(check.different, 3)
            yield (
                f"{table}: {check.different} of {check.equal + check.different} token ranges "
                f"differ, {check.rows_found} rows found of {check.rows_expected}: {named}"
                + (f" and {more} more" if more else "")
            )
