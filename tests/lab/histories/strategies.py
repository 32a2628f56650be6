# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for histories."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from magnetodb_backup.domain.restore.records import Existing
from tests.lab.histories.operations import (
    AddColumn,
    Bound,
    Change,
    Compact,
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
from tests.lab.histories.prediction import Request
from tests.lab.histories.rows import CLUSTERINGS, KEYS, every_clustering
from tests.lab.histories.story import History
from tests.lab.histories.tables import COUNTS, FLAT, WIDE, Column, Kind
from tests.lab.histories.values import Type

_BEGIN = 1_700_000_000_000_000  # microseconds; long before the tests run
_STEP = 1000  # microseconds from one operation to the next
_LATEST = 4  # steps; later than any lag

_one_of_five = st.integers(0, 4).map(lambda n: n == 4)
_texts = st.sampled_from([f"v{n}" for n in range(10)])
_numbers = st.integers(0, 9)
_keys = st.integers(0, KEYS - 1)
_clusterings = st.sampled_from(every_clustering())
_maps = st.dictionaries(st.integers(0, 2), _texts, max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
_sets = st.frozensets(st.integers(0, 3), max_size=3)
_lists = st.lists(_numbers, max_size=3).map(tuple)
_VALUES: Mapping[Type, st.SearchStrategy[Any]] = {
    Type.TEXT: _texts,
    Type.INT: _numbers,
    Type.FROZEN: _sets,
    Type.MAP: _maps,
    Type.SET: _sets,
    Type.LIST: _lists,
}


class Mode(enum.Enum):
    """How a history ends: in place, or beside under another name."""

    REFUSE = "refuse"
    REPLACE = "replace"
    MERGE = "merge"
    BESIDE = "beside"


@dataclass(frozen=True)
class _Stage:
    """A part of a history: its operations, how its clients' clocks differ, and what may expire."""

    lags: Sequence[int]  # in steps
    choices: Sequence[str] = ()
    expires: bool = False


_COMMON = (
    *["write"] * 12,
    *["delete"] * 6,
    *["flush"] * 3,
    *["add column"] * 2,
    *["compact", "drop column", "add column again"],
)
_LAGS = (*[0] * 5, -3, -2, -1, 1, 2, 3)
_FIRST = _Stage(_LAGS)
# Few drops, so that most backups have rows.
_BEFORE = _Stage(_LAGS, (*_COMMON, "truncate", "recreate", "create"), expires=True)
# Some writes are older than those of the backup, as if a client's clock was slow.
_AFTER = _Stage(
    (*_LAGS, *[-18] * 5),
    (*_COMMON, "truncate", "drop", "drop", "recreate", "create", "drop keyspace"),
    expires=True,
)
_THEN = _Stage((*_LAGS, *[-30, -58] * 4))
_ALTERED = ("a", "m", "s", "x", "y")  # columns that are dropped and added


def _at(index: int, lag: int = 0) -> int:
    return _BEGIN + (index + lag) * _STEP


@st.composite
def _change(draw: st.DrawFn, column: Column, *, insert: bool) -> Change:
    type_ = column.type
    how = How.SET
    if type_.is_collection and not insert:
        choices = [How.SET, How.ADD] if type_ is Type.LIST else list(How)
        how = draw(st.sampled_from(choices))
    if how is not How.SET:
        return Change(column.name, how, draw(_VALUES[type_].filter(bool)))
    return Change(column.name, how, None if draw(_one_of_five) else draw(_VALUES[type_]))


@st.composite
def _write(draw: st.DrawFn, table: str, kind: Kind, index: int, stage: _Stage) -> Operation:
    if kind is COUNTS:
        return Count(table, draw(_keys), draw(st.integers(1, 9)))
    insert = draw(st.booleans())
    names = draw(
        st.lists(st.sampled_from(sorted(kind.columns)), min_size=1, max_size=4, unique=True)
    )
    ttls = [Ttl.NONE, Ttl.NONE, Ttl.NONE, Ttl.LONG, *([Ttl.SHORT] if stage.expires else [])]
    ttl = draw(st.sampled_from(ttls))
    # Of two expiring cells of one time the clock of the node decides; so no two have one.
    at = _at(index, draw(st.sampled_from(stage.lags))) + (index + 1 if ttl is not Ttl.NONE else 0)
    clustering = draw(st.none() | _clusterings | _clusterings | _clusterings)
    changes = tuple(draw(_change(kind.columns[name], insert=insert)) for name in names)
    return Write(table, draw(_keys), clustering, changes, insert, ttl, at)


_bounds = st.none() | st.builds(Bound, st.integers(0, CLUSTERINGS[0] - 1), st.booleans())


@st.composite
def _where(draw: st.DrawFn) -> Where:
    clustering = draw(_clusterings)
    prefix = clustering[: draw(st.integers(0, 2))]
    if len(prefix) == 2 or draw(st.booleans()):
        return Where(prefix)
    return Where(prefix, draw(_bounds), draw(_bounds))


@st.composite
def _delete(draw: st.DrawFn, table: str, kind: Kind, index: int, stage: _Stage) -> Operation:
    at = _at(index, draw(st.sampled_from(stage.lags)))
    if draw(st.booleans()):
        return Delete(table, draw(_keys), draw(_where()), (), at)
    statics = draw(st.booleans())
    names = [c.name for c in kind.columns.values() if c.is_static == statics] or ["n"]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    elements = st.none() | st.integers(0, 2)
    columns = tuple((name, draw(elements)) for name in chosen)
    where = Where() if statics else Where(draw(_clusterings))
    return Delete(table, draw(_keys), where, columns, at)


@st.composite
def _operation(
    draw: st.DrawFn, kinds: Mapping[str, Kind], index: int, stage: _Stage
) -> tuple[Operation, ...]:
    table = draw(st.sampled_from(sorted(kinds)))
    kind = kinds[table]
    column = draw(st.sampled_from([name for name in _ALTERED if name in kind.columns] or ["n"]))
    latest = _at(index, _LATEST) + _STEP - 1
    match draw(st.sampled_from(stage.choices)):
        case "write":
            return (draw(_write(table, kind, index, stage)),)
        case "delete":
            return (draw(_delete(table, kind, index, stage)),)
        case "flush":
            return (Flush(table),)
        case "compact":
            return (Compact(table),)
        case "truncate":
            return (Truncate(table),)
        case "drop":
            return (DropTable(table, draw(st.booleans())),)
        case "drop keyspace":
            return (DropKeyspace(),)
        case "create":
            return (CreateTable(table, draw(st.sampled_from((0, 0, 0, 1)))),)
        case "recreate":
            return DropTable(table, draw(st.booleans())), CreateTable(table, 0)
        case "add column":
            return (AddColumn(table, column),)
        case "drop column":
            return (DropColumn(table, column, latest),)
        case _:
            return DropColumn(table, column, latest), AddColumn(table, column)


@st.composite
def _operations(
    draw: st.DrawFn, kinds: Mapping[str, Kind], begin: int, stage: _Stage
) -> tuple[Operation, ...]:
    count = draw(st.integers(4, 12))
    drawn = (draw(_operation(kinds, begin + number, stage)) for number in range(count))
    return tuple(operation for some in drawn for operation in some)


@st.composite
def _first_rows(draw: st.DrawFn, kinds: Mapping[str, Kind]) -> tuple[Operation, ...]:
    """Fill the tables, so that most histories have something to lose."""
    written = []
    for number in range(draw(st.integers(5, 12))):
        table = draw(st.sampled_from(sorted(kinds)))
        written.append(draw(_write(table, kinds[table], number, _FIRST)))
    return tuple(written)


@st.composite
def _emptied(draw: st.DrawFn, table: str, kind: Kind, index: int) -> list[Operation]:
    """Delete all rows of a table, or most of them."""
    way = draw(st.sampled_from(["partitions", "rows", "ranges", "expired", "truncate", "drop"]))
    if way == "truncate":
        return [Truncate(table)]
    if way == "drop":
        return [DropTable(table, draw(st.booleans()))]
    at = _at(index, _LATEST)
    if kind is COUNTS or way == "partitions":
        return [Delete(table, key, Where(), (), at) for key in range(KEYS)]
    statics = [(c.name, None) for c in kind.columns.values() if c.is_static]
    done: list[Operation] = []
    if statics and draw(st.sampled_from((True, True, False))):
        done = [Delete(table, key, Where(), tuple(statics), at) for key in range(KEYS)]
    keys = [(key, clustering) for key in range(KEYS) for clustering in every_clustering()]
    if way == "ranges":
        limit = Bound(0, is_inclusive=True)
        done += [Delete(table, key, Where((), limit), (), at) for key in range(KEYS)]
    elif way == "rows":
        done += [Delete(table, key, Where(clustering), (), at) for key, clustering in keys]
    else:
        regular = [c.name for c in kind.columns.values() if not c.is_static]
        gone = tuple(Change(name, How.SET, None) for name in regular)
        done += [
            Write(table, key, clustering, gone, True, Ttl.SHORT, at + 1 + number)
            for number, (key, clustering) in enumerate(keys)
        ]
    return done


@st.composite
def _request(draw: st.DrawFn, mode: Mode) -> Request:
    tables = draw(st.sampled_from(((), (), ("t",), ("u",))))
    if mode is not Mode.BESIDE:
        return Request(Existing(mode.value), tables)
    existing = draw(st.sampled_from(list(Existing)))
    name = draw(st.sampled_from(["", "t", "u"]))
    return Request(existing, tables, to_keyspace=not name, to_table=name)


@st.composite
def histories(draw: st.DrawFn, mode: Mode) -> History:
    """Draw a history that ends in a restore of this mode."""
    request = draw(_request(mode))
    merges = request.existing is Existing.MERGE
    # The guide says nothing of merged counters: Cassandra merges their shards.
    others = [WIDE, FLAT] if merges else [WIDE, FLAT, COUNTS]
    kinds = {"t": WIDE, "u": WIDE if request.to_table else draw(st.sampled_from(others))}
    filled = draw(_first_rows(kinds))
    before = (*filled, *draw(_operations(kinds, len(filled), _BEFORE)))
    after = draw(_operations(kinds, 30, _AFTER))
    if mode is Mode.REFUSE and draw(st.sampled_from((True, True, True, False))):
        for number, table in enumerate(sorted(kinds)):
            after += tuple(draw(_emptied(table, kinds[table], 50 + number)))
    then: list[Operation] = []
    for number in range(draw(st.integers(0, 3))):
        table = draw(st.sampled_from(sorted(kinds)))
        if draw(st.booleans()):
            then.append(draw(_write(table, kinds[table], 70 + number, _THEN)))
        else:
            then.append(draw(_delete(table, kinds[table], 70 + number, _THEN)))
    return History(tuple(kinds.items()), before, after, tuple(then), request)


def example(mode: Mode, number: int) -> History:
    """Return the history of this mode and number, always the same."""
    found: list[History] = []

    @seed(number)
    @settings(
        max_examples=2,  # the first one is the simplest, which is the same for each seed
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories(mode))
    def collect(history: History) -> None:
        found.append(history)

    collect()
    return found[-1]
