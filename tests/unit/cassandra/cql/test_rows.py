# SPDX-License-Identifier: Apache-2.0
"""Rows of a token range: pages that fit, other tries, fewer replicas."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from magnetodb_backup.cassandra.cql.rows import LOCAL_CONSISTENCIES, RowReader, range_query
from magnetodb_backup.cassandra.cql.session import Page
from magnetodb_backup.domain.fingerprints import TokenRange
from magnetodb_backup.domain.partitioners import MURMUR3
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    AccessDenied,
    Cancelled,
    CassandraUnavailable,
    CommandFailed,
    UnknownTable,
)

TABLE, RANGE = TableName("ks", "t"), TokenRange(MURMUR3.lowest, MURMUR3.highest)


class FakeSession:
    """Has rows of one column; ``before`` may raise before a page is read."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.asked: list[tuple[int, str]] = []
        self.before: Callable[[int, str], None] = lambda size, consistency: None
        self.keys = ["id"]
        self.empty_page_first = False

    def rows(self, query: str, parameters: object = None, **_: object) -> list[Any]:
        assert parameters == ("ks", "t")
        columns = [
            ("v", "regular", -1),
            *((k, "partition_key", n) for n, k in enumerate(self.keys)),
        ]
        if not self.keys:
            return []
        return [SimpleNamespace(column_name=n, kind=k, position=p) for n, k, p in reversed(columns)]

    def page(self, query: str, *, size: int, after: bytes | None, consistency: str) -> Page:
        self.asked.append((size, consistency))
        self.before(size, consistency)
        if self.empty_page_first:
            self.empty_page_first = False
            return Page([], b"0")
        begin = int(after or 0)
        end = begin + size
        return Page(
            [(t,) for t in self.texts[begin:end]],
            str(end).encode() if end < len(self.texts) else None,
        )


def _nothing_masked(table: TableName) -> tuple[str, ...]:
    return ()


def _read(session: FakeSession, check: Callable[[], None] = lambda: None) -> list[str]:
    reader = RowReader(session, check, _nothing_masked, lambda seconds: None)  # type: ignore[arg-type]
    return [text for page in reader.pages(TABLE, RANGE) for text in page]


def test_query_names_are_quoted_and_the_key_is_whole() -> None:
    query = range_query(TableName("Ks", 'o"t'), ["b", "A"], TokenRange(-5, 7))
    assert query == (
        'SELECT JSON * FROM "Ks"."o""t" WHERE token("b", "A") > -5 AND token("b", "A") <= 7'
    )


def test_all_rows_come_in_order() -> None:
    session = FakeSession([f"row {n}" for n in range(12_345)])
    session.keys = ["b", "a"]
    assert _read(session) == session.texts
    assert {level for _, level in session.asked} == {"ALL"}
    assert session.asked[0][0] == 200
    assert session.asked[1][0] == 5000  # small rows: more of them


def test_pages_of_large_rows_are_small() -> None:
    session = FakeSession(["x" * 300_000] * 250)
    assert len(_read(session)) == 250
    assert session.asked[1][0] == 3


def test_an_empty_page_is_not_the_end() -> None:
    session = FakeSession(["a", "b"])
    session.empty_page_first = True
    assert _read(session) == ["a", "b"]
    assert [size for size, _ in session.asked] == [200, 200]


def test_masked_values_are_not_read() -> None:
    """Case 11: their digests would be equal whatever the values are."""
    session = FakeSession(["****"])
    reader = RowReader(session, lambda: None, lambda table: ("mail",))  # type: ignore[arg-type]
    with pytest.raises(AccessDenied, match=r"of mail in ks\.t; GRANT UNMASK ON TABLE ks\.t"):
        list(reader.pages(TABLE, RANGE))
    assert session.asked == []


def test_an_empty_range() -> None:
    assert _read(FakeSession([])) == []


def test_a_page_that_takes_too_long_is_read_in_smaller_ones() -> None:
    session = FakeSession([f"row {n}" for n in range(500)])

    def refuse(size: int, consistency: str) -> None:
        if size > 20:
            raise CassandraUnavailable("it took too long")

    session.before = refuse
    reader = RowReader(session, lambda: None, _nothing_masked, lambda seconds: None)  # type: ignore[arg-type]
    pages = reader.pages(TABLE, RANGE)
    assert next(pages) == session.texts[:12]
    assert session.asked == [(200, "ALL"), (50, "ALL"), (12, "ALL")]
    session.before = lambda size, consistency: None
    assert [t for page in pages for t in page] == session.texts[12:]


def test_a_guardrail_on_the_size_of_pages_is_kept_to() -> None:
    """Cassandra refuses larger pages to roles that are no superusers; no row is left out."""
    session = FakeSession([f"row {n}" for n in range(2000)])

    def refuse(size: int, consistency: str) -> None:
        if size > 250:
            raise CommandFailed(f"Guardrail page_size violated: page size {size} exceeds 250")

    session.before = refuse
    assert _read(session) == session.texts
    sizes = [size for size, _ in session.asked]
    assert sizes[1:7] == [5000, 2500, 1250, 625, 312, 156]
    assert set(sizes[7:]) == {156}  # it is remembered


def test_another_refusal_ends_the_read() -> None:
    session = FakeSession(["a"])

    def refuse(size: int, consistency: str) -> None:
        raise CommandFailed("unconfigured table")

    session.before = refuse
    with pytest.raises(CommandFailed, match="unconfigured"):
        _read(session)


def test_without_a_replica_a_quorum_is_enough_from_then_on() -> None:
    session = FakeSession([f"row {n}" for n in range(500)])

    def refuse(size: int, consistency: str) -> None:
        if consistency == "ALL":
            raise CassandraUnavailable("2 live replicas of the 3")

    session.before = refuse
    reader = RowReader(session, lambda: None, _nothing_masked, lambda seconds: None)  # type: ignore[arg-type]
    for _ in range(2):
        assert [t for page in reader.pages(TABLE, RANGE) for t in page] == session.texts
    assert [level for _, level in session.asked].count("ALL") == 4


def test_with_too_few_replicas_it_ends() -> None:
    session = FakeSession(["a"])

    def refuse(size: int, consistency: str) -> None:
        raise CassandraUnavailable(f"too few for {consistency}")

    session.before = refuse
    with pytest.raises(CassandraUnavailable, match="too few for QUORUM"):
        _read(session)
    assert len(session.asked) == 8


def test_a_refusal_is_not_tried_again() -> None:
    session = FakeSession(["a"])

    def refuse(size: int, consistency: str) -> None:
        raise CommandFailed("too many tombstones")

    session.before = refuse
    with pytest.raises(CommandFailed, match="too many tombstones"):
        _read(session)
    assert len(session.asked) == 1


def test_giving_up_between_pages() -> None:
    session = FakeSession([f"row {n}" for n in range(500)])

    def check() -> None:
        if session.asked:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        _read(session, check)
    assert len(session.asked) == 1


def test_a_table_that_is_not_there() -> None:
    session = FakeSession([])
    session.keys = []
    with pytest.raises(UnknownTable, match=r"Cassandra has no table ks\.t"):
        _read(session)


def test_other_data_centres_are_not_needed() -> None:
    """If not all replicas answer, those of the node's own data centre will do."""
    session = FakeSession(["a"])

    def before(size: int, level: str) -> None:
        if level == "ALL":
            raise CassandraUnavailable("has 1 live replicas of the 2")

    session.before = before
    reader = RowReader(
        session,  # type: ignore[arg-type]
        lambda: None,
        _nothing_masked,
        lambda seconds: None,
        LOCAL_CONSISTENCIES,
    )
    assert list(reader.pages(TABLE, RANGE)) == [["a"]]
    assert [level for _, level in session.asked][-2:] == ["ALL", "LOCAL_QUORUM"]
