# SPDX-License-Identifier: Apache-2.0
"""The model of Cassandra's reconciliation, and the CQL of operations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.lab.histories.model import Keyspace
from tests.lab.histories.operations import (
    AddColumn,
    Bound,
    Change,
    Count,
    CreateTable,
    Delete,
    DropColumn,
    DropKeyspace,
    DropTable,
    Flush,
    How,
    Operation,
    Truncate,
    Ttl,
    Where,
    Write,
)
from tests.lab.histories.rows import every_clustering
from tests.unit.lab.histories.writing import (
    COUNTERS,
    THE_ROW,
    delete,
    insert,
    keyspace,
    update,
    values,
)

PARTITION = Where()


@pytest.mark.parametrize(
    ("operations", "rows"),
    [
        ([], []),
        ([insert(1, a="x")], [{"a": "x"}]),
        ([insert(1)], [{}]),  # a row of nothing but its key
        ([update(1, a="x")], [{"a": "x"}]),
        ([insert(5, a="x"), insert(4, a="y", b=1)], [{"a": "x", "b": 1}]),
        ([insert(5, a="x"), insert(5, a="y")], [{"a": "y"}]),  # the greater value
        ([insert(5, b=9), insert(5, b=1)], [{"b": 9}]),
        ([insert(5, a="z"), update(5, a=None)], [{}]),  # a deletion wins over a value
        ([update(1, a="x"), update(2, a=None)], []),  # no INSERT, so no row
        ([insert(1, a="x"), update(2, a=None)], [{}]),
        ([insert(1, a="x"), update(2, a="y", ttl=Ttl.SHORT)], [{}]),  # expired is deleted
        ([insert(1, ttl=Ttl.SHORT, a="x")], []),
        ([insert(1, a="x"), insert(2, ttl=Ttl.SHORT)], [{"a": "x"}]),  # its marker only
        ([insert(1, ttl=Ttl.LONG, a="x")], [{"a": "x"}]),
        ([insert(5, a="x"), delete(5)], []),  # a deletion hides what has its time
        ([insert(5, a="x"), delete(4)], [{"a": "x"}]),
        ([insert(5, a="x"), delete(6), update(7, b=1)], [{"b": 1}]),
        ([insert(5, a="x"), delete(6, PARTITION), insert(7, b=1)], [{"b": 1}]),
        ([insert(5, a="x", b=1), delete(6, THE_ROW, "a")], [{"b": 1}]),
        ([insert(5, f=frozenset({1, 2}))], [{"f": (1, 2)}]),
    ],
)
def test_newest_write_or_deletion_wins(
    operations: Sequence[Operation], rows: Sequence[dict[str, object]]
) -> None:
    assert values(keyspace(*operations)) == rows
    assert values(keyspace(*reversed(operations))) == rows  # whatever comes first


MAP = ((0, "x"), (1, "y"))


@pytest.mark.parametrize(
    ("operations", "rows"),
    [
        ([insert(5, m=MAP)], [{"m": MAP}]),
        ([insert(5, m=MAP), insert(6, m=((2, "z"),))], [{"m": ((2, "z"),)}]),
        # Both write at one time: the deletion that comes with a whole value is older.
        ([insert(5, m=MAP), insert(5, m=((2, "z"),))], [{"m": (*MAP, (2, "z"))}]),
        ([insert(5, m=MAP), insert(5, m=())], [{"m": MAP}]),
        ([insert(5, m=MAP), delete(5, THE_ROW, "m")], [{}]),
        ([insert(5, m=MAP), update(6, m=((2, "z"),), how=How.ADD)], [{"m": (*MAP, (2, "z"))}]),
        ([insert(5, m=MAP), update(6, m=((0, ""),), how=How.REMOVE)], [{"m": ((1, "y"),)}]),
        ([insert(5, m=MAP), delete(5, THE_ROW, "m", element=1)], [{"m": ((0, "x"),)}]),
        ([insert(5, k=frozenset({1, 2})), delete(6, THE_ROW, "k", element=1)], [{"k": (2,)}]),
        ([insert(5, k=frozenset({1}), ttl=Ttl.SHORT), insert(6)], [{}]),
        ([update(5, l=(3, 1), how=How.ADD), update(4, l=(2,), how=How.ADD)], [{"l": (3, 1, 2)}]),
        ([insert(5, l=(3, 1)), insert(6, l=(2,))], [{"l": (2,)}]),
    ],
)
def test_elements_of_collections_are_cells(
    operations: Sequence[Operation], rows: Sequence[dict[str, object]]
) -> None:
    assert values(keyspace(*operations)) == rows


def test_static_values_are_of_all_rows_of_a_partition() -> None:
    made = keyspace(Write("t", 0, None, (Change("s", How.SET, "x"),), True, Ttl.NONE, 1))
    assert values(made) == [{"s": "x"}]  # a partition without rows
    made.perform([insert(2, a="y"), Write("t", 0, (1, 1), (), True, Ttl.NONE, 3)])
    assert values(made) == [{"a": "y", "s": "x"}, {"s": "x"}]
    made.perform([delete(4), delete(4, Where((1,)))])
    assert values(made) == [{"s": "x"}]  # a row's deletion is none of static values
    made.perform([delete(5, PARTITION)])
    assert values(made) == []


@pytest.mark.parametrize(
    ("where", "text", "deleted"),
    [
        (Where((1,)), "p = 0 AND c = 1", {(1, 0), (1, 1)}),
        (Where((1,), Bound(0, False)), "p = 0 AND c = 1 AND d > 0", {(1, 1)}),
        (Where((), Bound(1, True)), "p = 0 AND c >= 1", {(1, 0), (1, 1), (2, 0), (2, 1)}),
        (Where((), Bound(0, False), Bound(2, False)), "p = 0 AND c > 0 AND c < 2",
         {(1, 0), (1, 1)}),
        (Where((), None, Bound(0, True)), "p = 0 AND c <= 0", {(0, 0), (0, 1)}),
        (Where((2, 1)), "p = 0 AND c = 2 AND d = 1", {(2, 1)}),
    ],
)  # fmt: skip
def test_ranges(where: Where, text: str, deleted: set[tuple[int, int]]) -> None:
    rows = [Write("t", 0, each, (), True, Ttl.NONE, 1) for each in every_clustering()]
    made = keyspace(*rows)
    (command,) = made.perform([delete(2, where)])
    assert str(command) == f"DELETE FROM ks.t USING TIMESTAMP 2 WHERE {text}"
    left = {(dict(row)["c"], dict(row)["d"]) for row in made.tables["t"].read()}
    assert left == set(every_clustering()) - deleted


def test_cells_of_a_dropped_column_stay_dropped() -> None:
    made = keyspace(insert(5, a="x", b=1), DropColumn("t", "a", 7))
    assert values(made) == [{"b": 1}]
    assert made.perform([update(9, a="y")]) == []
    made.perform([AddColumn("t", "a"), update(7, a="y")])
    assert values(made) == [{"b": 1}]  # not newer than the drop
    made.perform([update(8, a="z")])
    assert values(made) == [{"a": "z", "b": 1}]


def test_what_does_not_exist_takes_nothing() -> None:
    made = keyspace(insert(5, a="x"))
    made.perform([Truncate("t")])
    assert values(made) == []
    made.perform([insert(3, a="y")])
    assert values(made) == [{"a": "y"}]  # a truncated table has no deletions
    (command,) = made.perform([DropTable("t", leaves_files=False)])
    assert str(command) == "DROP TABLE ks.t"
    assert made.perform([insert(5), Flush("t"), Truncate("t"), DropTable("t", True)]) == []
    made.perform([CreateTable("t", 0)])
    assert values(made) == []
    assert [str(c) for c in made.perform([DropKeyspace(), DropKeyspace()])] == ["DROP KEYSPACE ks"]
    texts = [str(command) for command in made.perform([CreateTable("u", 1)])]
    assert texts[0].startswith("CREATE KEYSPACE ks WITH replication = ")
    assert texts[1].startswith("CREATE TABLE ks.u (p int, a text, PRIMARY KEY (p)) WITH ")


def test_counters() -> None:
    made = Keyspace("ks", COUNTERS)
    made.perform([CreateTable("t", 0), Count("t", 0, 3), Count("t", 0, 4), Count("t", 1, 1)])
    assert values(made) == [{"n": 1}, {"n": 7}]
    made.perform([Delete("t", 0, Where(), (), 9)])
    assert made.perform([Count("t", 0, 5)]) == []  # says Cassandra: never again
    assert values(made) == [{"n": 1}]


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (insert(5, a="x", m=MAP, l=(1, 2), f=frozenset(), ttl=Ttl.LONG),
         "INSERT INTO ks.t (p, c, d, a, m, l, f) VALUES (0, 0, 0, 'x', {0: 'x', 1: 'y'}, [1, 2], "
         "{}) USING TIMESTAMP 5 AND TTL 864000"),
        (insert(5, table="u", a=None, s="x"), "INSERT INTO ks.u (p, a) VALUES (0, null) USING "
         "TIMESTAMP 5"),
        (update(5, s="x"), "UPDATE ks.t USING TIMESTAMP 5 SET s = 'x' WHERE p = 0"),
        (update(5, s="x", b=1), "UPDATE ks.t USING TIMESTAMP 5 SET s = 'x', b = 1 WHERE p = 0 AND "
         "c = 0 AND d = 0"),
        (update(5, m=MAP, how=How.REMOVE), "UPDATE ks.t USING TIMESTAMP 5 SET m = m - {0, 1} "
         "WHERE p = 0 AND c = 0 AND d = 0"),
        (update(5, l=(1,), how=How.ADD, ttl=Ttl.SHORT), "UPDATE ks.t USING TIMESTAMP 5 AND TTL 1 "
         "SET l = l + [1] WHERE p = 0 AND c = 0 AND d = 0"),
        (delete(5, THE_ROW, "m", element=1), "DELETE m[1] FROM ks.t USING TIMESTAMP 5 WHERE "
         "p = 0 AND c = 0 AND d = 0"),
        (delete(5, PARTITION, "s", "a"), "DELETE s FROM ks.t USING TIMESTAMP 5 WHERE p = 0"),
    ],
)  # fmt: skip
def test_statements(operation: Operation, text: str) -> None:
    assert [str(command) for command in keyspace().perform([operation])] == [text]
