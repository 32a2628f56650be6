# SPDX-License-Identifier: Apache-2.0
"""The model of Cassandra's reconciliation, by which restores are judged, is one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.histories.model import Keyspace
from tests.lab.histories.operations import CreateTable, Delete, Operation, Write
from tests.lab.histories.story import History
from tests.lab.histories.strategies import Mode, histories


def _mutations(history: History) -> list[Operation]:
    """Return writes and deletions but for lists: their order is that of the writes."""
    found: list[Operation] = []
    for operation in (*history.before, *history.after):
        if isinstance(operation, Write):
            changes = tuple(c for c in operation.changes if c.column != "l")
            found.append(replace(operation, changes=changes))
        elif isinstance(operation, Delete):
            found.append(operation)
    return found


def _after(history: History, operations: Sequence[Operation]) -> Keyspace:
    keyspace = Keyspace("ks", dict(history.kinds))
    keyspace.perform([CreateTable("t", 0), CreateTable("u", 0), *operations])
    return keyspace


def _merged(one: Keyspace, other: Keyspace) -> Keyspace:
    merged = one.copy()
    for name, table in other.copy().tables.items():
        merged.tables[name].rows.add(table.rows)
    return merged


_merges = histories(Mode.MERGE)


@settings(max_examples=30)
@given(_merges, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(history: History, random_: random.Random) -> None:
    operations = _mutations(history)
    expected = _after(history, operations).read()
    random_.shuffle(operations)
    assert _after(history, operations).read() == expected


@settings(max_examples=30)
@given(_merges, st.integers(0, 30))
def test_merged_parts_are_the_whole(history: History, size: int) -> None:
    operations = _mutations(history)
    first, second = _after(history, operations[:size]), _after(history, operations[size:])
    whole = _after(history, operations).read()
    assert _merged(first, second).read() == whole
    assert _merged(second, first).read() == whole
    assert _merged(first, first).read() == first.read()
