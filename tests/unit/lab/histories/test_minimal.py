# SPDX-License-Identifier: Apache-2.0
"""The search for a small history that fails as a large one does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.lab.histories.minimal import minimal, size, without
from tests.lab.histories.operations import Count, Operation
from tests.lab.histories.story import History, tell
from tests.lab.histories.strategies import Mode, example


def _history(total: int) -> History:
    drawn = example(Mode.MERGE, 1)
    operations: list[Operation] = [Count("t", 0, number) for number in range(total)]
    third = total // 3
    parts = operations[:third], operations[third : 2 * third], operations[2 * third :]
    before, after, then = map(tuple, parts)
    return History(drawn.kinds, before, after, then, drawn.request)


def _numbers(history: History) -> set[int]:
    operations = (*history.before, *history.after, *history.then)
    return {operation.by for operation in operations if isinstance(operation, Count)}


@pytest.mark.parametrize("needed", [set(), {0}, {59}, {3, 30, 31}, {1, 2, 20, 45, 58}])
def test_what_is_not_needed_is_left_out(needed: set[int]) -> None:
    batches = []

    def fails(histories: Sequence[History]) -> list[bool]:
        batches.append(len(histories))
        return [needed <= _numbers(history) for history in histories]

    found = minimal(_history(60), fails)
    assert needed <= _numbers(found)
    assert size(found) <= len(needed) + 5
    assert len(batches) <= 14
    assert max(batches) <= 24


def test_every_operation_has_one_number() -> None:
    history = _history(10)
    assert size(history) == 10
    assert _numbers(without(history, frozenset({0, 4, 9}))) == set(range(10)) - {0, 4, 9}


@pytest.mark.parametrize("mode", list(Mode))
def test_examples_are_always_the_same_and_part_of_one_is_one(mode: Mode) -> None:
    history = example(mode, 3)
    assert history == example(mode, 3)
    assert history != example(mode, 4)
    for number in range(size(history)):
        story = tell(without(history, frozenset({number})), "ks")
        assert story.backup.tables
        assert story.text()
