# SPDX-License-Identifier: Apache-2.0
"""Finds a small history that fails as a large one does.

Hypothesis tries one example after another. Here many are tried in one batch, which has one backup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from tests.lab.histories.operations import Operation
from tests.lab.histories.story import History

_BATCH = 24
_ROUNDS = 12

Fails = Callable[[Sequence[History]], Sequence[bool]]
Chunk = frozenset[int]  # numbers of operations, counted through all parts


def size(history: History) -> int:
    """Return the number of operations."""
    return len(history.before) + len(history.after) + len(history.then)


def without(history: History, chunk: Chunk) -> History:
    """Return the history without some operations."""
    numbers = count()

    def kept(part: Sequence[Operation]) -> tuple[Operation, ...]:
        return tuple(o for o, number in zip(part, numbers, strict=False) if number not in chunk)

    return replace(
        history,
        before=kept(history.before),
        after=kept(history.after),
        then=kept(history.then),
    )


def minimal(history: History, fails: Fails) -> History:
    """Return a history of which no operation can be left out, as far as some rounds find it.

    ``fails`` tries histories together, and returns for each whether it fails like the first one.
    """
    rounds = 0
    chunks = _chunks(size(history))
    while chunks and rounds < _ROUNDS:
        batch, chunks = chunks[:_BATCH], chunks[_BATCH:]
        failing = _failing(history, batch, fails)
        rounds += 1
        if not failing:
            continue
        best = max(failing, key=len)
        together = frozenset().union(*failing)
        if len(together) > len(best):
            rounds += 1
            if _failing(history, [together], fails):
                best = together
        history = without(history, best)
        chunks = _chunks(size(history))
    return history


def _failing(history: History, chunks: Sequence[Chunk], fails: Fails) -> list[Chunk]:
    found = fails([without(history, chunk) for chunk in chunks])
    return [chunk for chunk, failed in zip(chunks, found, strict=True) if failed]


def _chunks(total: int) -> list[Chunk]:
    """Return runs of operations that may be left out, the longest first."""
    found: list[Chunk] = []
    length = total
    while length:
        found += [
            frozenset(range(begin, min(begin + length, total))) for begin in range(0, total, length)
        ]
        length //= 2
    return found
