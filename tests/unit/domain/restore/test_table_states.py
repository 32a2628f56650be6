# SPDX-License-Identifier: Apache-2.0
"""What each table's state is told to be."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.restore.records import Existing, RestorePhase
from magnetodb_backup.domain.restore.table_states import (
    DIFFERS,
    RESTORED,
    UNTOUCHED,
    mark_differing,
    table_states,
)

_PHASES = [p.value for p in RestorePhase]


def _states(phase: str, existing: Existing = Existing.REPLACE) -> list[str]:
    """Return the states of a table that was there and of one that was not, in ``phase``."""
    found = table_states(
        ["k.old", "k.new"],
        phase=phase,
        done=_PHASES[: _PHASES.index(phase)],
        existing=existing,
        existed={"k.old": True, "k.new": False},
        refused={},
    )
    return list(found.values())


@pytest.mark.parametrize("phase", ["select", "census", "preflight", "download"])
def test_nothing_is_touched_before_all_is_staged(phase: str) -> None:
    assert _states(phase) == [UNTOUCHED, UNTOUCHED]


def test_schema() -> None:
    assert _states("schema") == [
        UNTOUCHED, "may have been made, without rows: repeat the restore",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("existing", "text"),
    [
        (Existing.REPLACE, "may be empty"),
        (Existing.MERGE, "keeps its rows"),
        (Existing.REFUSE, "keeps its rows"),
    ],
)
def test_truncate(existing: Existing, text: str) -> None:
    old, new = _states("truncate", existing)
    assert old.startswith(text)
    assert new.startswith("may have been made")


@pytest.mark.parametrize(
    ("existing", "again"),
    [(Existing.REFUSE, "replace"), (Existing.REPLACE, "replace"), (Existing.MERGE, "merge")],
)
def test_import_says_how_to_repeat(existing: Existing, again: str) -> None:
    assert _states("import", existing) == [f"partly restored: repeat with --existing {again}"] * 2


@pytest.mark.parametrize("phase", ["views", "repair", "cleanup"])
def test_imported_is_restored(phase: str) -> None:
    assert _states(phase) == [RESTORED, RESTORED]


def test_refused_sstables_are_named_with_their_table_only() -> None:
    found = table_states(
        ["k.a", "k.b"],
        phase="cleanup",
        done=_PHASES[:-1],
        existing=Existing.REFUSE,
        existed={},
        refused={"k.b": ["nb-1-big-Data.db on 10.0.0.1"]},
    )
    assert found == {
        "k.a": RESTORED, "k.b": "restored without the SSTables nb-1-big-Data.db on 10.0.0.1",
    }  # fmt: skip


def test_before_the_first_step() -> None:
    assert (
        table_states([], phase="", done=[], existing=Existing.REFUSE, existed={}, refused={}) == {}
    )


def test_tables_that_differ_from_the_figures() -> None:
    refused = {"k.refused": ["nb-1 on 10.0.0.1"]}
    states = table_states(
        ["k.same", "k.other", "k.refused"],
        phase="cleanup",
        done=_PHASES[:-1],
        existing=Existing.REFUSE,
        existed={},
        refused=refused,
    )
    assert mark_differing(states, ["k.other", "k.refused"], refused) == {
        "k.same": RESTORED,
        "k.other": DIFFERS,
        "k.refused": "restored without the SSTables nb-1 on 10.0.0.1",
    }


@pytest.mark.parametrize(
    ("phase", "told"),
    [("schema", False), ("truncate", True), ("import", True), ("views", True), ("repair", False)],
)
def test_what_was_dropped_is_told_until_it_is_made_again(phase: str, told: bool) -> None:
    states = table_states(
        ["k.t", "k.u"],
        phase=phase,
        done=_PHASES[: _PHASES.index(phase)],
        existing=Existing.MERGE,
        existed={"k.t": True, "k.u": True},
        refused={},
        late={"k.t": ["CREATE INDEX i ON k.t (c);", "CREATE MATERIALIZED VIEW k.v;"]},
    )
    end = (
        "; make then, if they are missing: CREATE INDEX i ON k.t (c); CREATE MATERIALIZED VIEW k.v;"
    )
    assert states["k.t"].endswith(end) is told
    assert end not in states["k.u"]
