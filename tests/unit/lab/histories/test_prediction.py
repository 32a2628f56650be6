# SPDX-License-Identifier: Apache-2.0
"""What a restore has to do, predicted."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.restore.records import Existing
from tests.lab.histories.operations import (
    AddColumn,
    CreateTable,
    DropColumn,
    DropKeyspace,
    DropTable,
    Operation,
)
from tests.lab.histories.prediction import Request, predict
from tests.unit.lab.histories.writing import delete, insert, keyspace, update, values

REFUSE, REPLACE, MERGE = Existing.REFUSE, Existing.REPLACE, Existing.MERGE


@pytest.mark.parametrize(
    ("existing", "rows"),
    [(REPLACE, [{"a": "old"}]), (MERGE, [{"a": "old", "b": 1}])],
)
def test_rows_are_replaced_or_merged(existing: Existing, rows: list[dict[str, object]]) -> None:
    backup, present = keyspace(insert(5, a="old")), keyspace(insert(4, a="late", b=1))
    found = predict(backup, present, Request(existing, ("t",)))
    assert found.refused == {}
    assert values(found.keyspace) == rows
    assert values(present) == [{"a": "late", "b": 1}]


def test_rows_are_refused() -> None:
    backup, present = keyspace(insert(5, a="old")), keyspace(insert(6))
    found = predict(backup, present, Request(REFUSE))
    assert found.refused == {"t": "it has rows"}
    present.perform([delete(7)])
    assert values(predict(backup, present, Request(REFUSE)).keyspace) == [{"a": "old"}]
    # In a merge the deletion is newer.
    assert values(predict(backup, present, Request(MERGE)).keyspace) == []


@pytest.mark.parametrize("existing", list(Existing))
def test_what_is_missing_is_created_and_nothing_else_changes(existing: Existing) -> None:
    backup = keyspace(insert(5, a="old"), update(5, a="old", table="u"))
    present = keyspace(insert(6, a="new", table="u"), DropTable("t", False))
    found = predict(backup, present, Request(existing, ("t",)))
    assert (values(found.keyspace), values(found.keyspace, "u")) == ([{"a": "old"}], [{"a": "new"}])
    present.perform([DropKeyspace()])
    found = predict(backup, present, Request(existing, ("t",)))
    assert list(found.keyspace.tables) == ["t"]
    assert found.keyspace.exists


def test_other_name() -> None:
    backup = keyspace(insert(5, a="old"))
    present = keyspace(insert(6, a="new"))
    request = Request(MERGE, ("t",), to_table="u")
    assert predict(backup, present, request).refused == {"u": "it is another table"}
    present.perform([DropTable("u", False)])
    found = predict(backup, present, request).keyspace
    assert (values(found), values(found, "u")) == ([{"a": "new"}], [{"a": "old"}])
    refused = predict(backup, found, Request(REFUSE, ("t",), to_table="u")).refused
    assert refused == {"u": "the target exists"}


DROPPED = "cells of a that were dropped before the backup would come back"
LOST = "cells of a would not come back"


@pytest.mark.parametrize(
    ("before", "after", "existing", "reason"),
    [
        ([], [DropColumn("t", "a", 7)], MERGE, "it lacks the columns a"),
        ([], [DropColumn("t", "a", 7), AddColumn("t", "a")], REPLACE, LOST),
        ([], [DropColumn("t", "a", 7), AddColumn("t", "a")], MERGE, ""),
        ([], [AddColumn("t", "x")], REPLACE, ""),
        ([DropColumn("t", "a", 7)], [AddColumn("t", "a")], REPLACE, ""),
        ([DropColumn("t", "a", 7)], [DropTable("t", False), CreateTable("t", 0)], MERGE, DROPPED),
        ([DropColumn("t", "a", 7), AddColumn("t", "a")],
         [DropColumn("t", "a", 9), AddColumn("t", "a")], REFUSE, LOST),
        ([], [DropTable("t", False), CreateTable("t", 1)], REPLACE, "its rows have another order"),
    ],
)  # fmt: skip
def test_what_the_files_contradict_is_refused(
    before: list[Operation], after: list[Operation], existing: Existing, reason: str
) -> None:
    backup = keyspace(*before)
    present = backup.copy()
    present.perform(after)
    found = predict(backup, present, Request(existing, ("t",)))
    assert found.refused == ({"t": reason} if reason else {})


def test_request_is_about_tables_of_the_backup() -> None:
    backup = keyspace(DropTable("u", False))
    assert Request(MERGE, ("u",)).within(backup) == Request(MERGE)
    assert Request(MERGE, ("u",), to_table="u").within(backup) == Request(
        MERGE, ("t",), to_table="u"
    )
    assert Request(MERGE, (), to_table="t").within(backup) == Request(MERGE, (), to_keyspace=True)
