# SPDX-License-Identifier: Apache-2.0
"""The codec of tasks and step results; each kind of task and each step has its class."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any

import pytest

from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.restore.records import RestorePhase
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import KeyspaceDescription, Selection, TableName
from magnetodb_backup.errors import InvalidValue, Unexpected
from magnetodb_backup.tasks.backup import Prepare, SnapshotTaken, Upload
from magnetodb_backup.tasks.backup_steps import SnapshotDone
from magnetodb_backup.tasks.cluster import Member, SelectedTable, SelectedTables, table_name
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.cassandra.tree import table
from tests.unit.tasks.registry import STEPS, TASKS

PREPARE: dict[str, Any] = {
    "host_id": "h",
    "cluster": "c",
    "backup_id": "b",
    "tag": "t",
    "tables": [{"keyspace": "ks", "table": "t", "id": "0" * 32, "is_view": False}],
}


@pytest.mark.parametrize("kind", TaskKind)
def test_each_kind_has_a_task_and_a_result(kind: TaskKind) -> None:
    assert is_dataclass(TASKS[kind])
    assert is_dataclass(TASKS[kind].result)


@pytest.mark.parametrize("phase", Phase)
def test_each_step_of_a_backup_has_a_result(phase: Phase) -> None:
    assert is_dataclass(STEPS["backup"][phase.value])


@pytest.mark.parametrize("phase", RestorePhase)
def test_each_step_of_a_restore_has_a_result(phase: RestorePhase) -> None:
    assert is_dataclass(STEPS["restore"][phase.value])


def test_failures_are_stored_by_all_jobs_that_clean_up() -> None:
    assert set(STEPS) == {"backup", "collection", "deletion", "restore", "verification"}
    assert all("failed" in STEPS[job] for job in ("backup", "restore"))


def test_unknown_fields_are_ignored() -> None:
    """A newer release may send more."""
    table_ = {**PREPARE["tables"][0], "comment": "x"}
    assert decode(Prepare, {**PREPARE, "tables": [table_], "urgent": True}) == decode(
        Prepare, PREPARE
    )


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"tag": 1}, r"Expected `str`, got `int` - at `\$\.tag`"),
        ({"tables": "ks.t"}, r"Expected `array`, got `str` - at `\$\.tables`"),
        ({"tables": [{"keyspace": "ks", "table": "t", "id": 7}]}, r"at `\$\.tables\[0\]\.id`"),
        ({"tables": None}, r"at `\$\.tables`"),
    ],
)
def test_wrong_types_are_refused_with_their_field(change: dict[str, Any], place: str) -> None:
    with pytest.raises(Unexpected, match=rf"Prepare cannot be read: .*{place}"):
        decode(Prepare, {**PREPARE, **change})


def test_missing_fields_are_refused_by_name() -> None:
    with pytest.raises(Unexpected, match="missing required field `tag`"):
        decode(Prepare, {k: v for k, v in PREPARE.items() if k != "tag"})


def test_fields_that_were_added_later_have_defaults() -> None:
    old = {**PREPARE, "on_corrupt": "fail", "snapshot_started_at": "", "snapshot_finished_at": ""}
    upload = decode(Upload, old)
    assert (upload.snapshot_files, upload.snapshot_bytes, upload.distrusted) == (None, None, {})


def test_results_of_nodes_are_typed() -> None:
    taken = SnapshotTaken("2026-01-01", "2026-01-02", 1, 2)
    done = SnapshotDone({"host": taken}, {"other": "broken"})
    stored = json.loads(json.dumps(encode(done)))
    assert stored["results"]["host"]["files"] == 1
    assert decode(SnapshotDone, stored) == done


def test_undecodable_bytes_of_file_names_survive() -> None:
    task = decode(Prepare, {**PREPARE, "tag": "nb-\udcff"})
    assert decode(Prepare, json.loads(json.dumps(encode(task)))).tag == "nb-\udcff"


# The forms of the domain's classes.


def test_members_carry_tokens_as_text() -> None:
    member = RingMember("h", "127.0.0.1", "dc1", "r1", "5.0.9", (-(1 << 63), 7), "schema-1")
    exchanged = Member.of(member)
    assert exchanged.tokens == ("-9223372036854775808", "7")
    assert encode(exchanged)["tokens"] == ["-9223372036854775808", "7"]
    assert exchanged.ring_member() == member


def test_selections_have_the_form_of_the_manifest() -> None:
    keyspace = KeyspaceDescription("ks", {"class": "SimpleStrategy", "replication_factor": "1"})
    selection = Selection((keyspace,), (table("ks", "t", 1),))
    exchanged = SelectedTables.of(selection)
    assert json.loads(json.dumps(encode(exchanged))) == selection.as_json()
    assert exchanged.selection() == selection


@pytest.mark.parametrize("name", ["../../etc", "", "t;DROP", "x" * 223])
def test_names_are_checked_when_they_reach_the_domain(name: str) -> None:
    with pytest.raises(InvalidValue):
        SelectedTable("ks", name, "0" * 32).description()
    with pytest.raises(InvalidValue):
        table_name(("ks", name))
    assert table_name(("ks", "t")) == TableName("ks", "t")


def test_the_in_memory_bus_carries_what_a_real_one_does() -> None:
    selection = decode(SelectedTables, {"keyspaces": [], "tables": PREPARE["tables"]})
    encoded = encode(selection)
    assert isinstance(encoded["tables"], list)
    assert [str(t.name) for t in Selection.from_json(encoded).tables] == ["ks.t"]
