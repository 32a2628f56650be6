# SPDX-License-Identifier: Apache-2.0
"""backup list, backup show: what they show, and in which words."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
import yaml

from magnetodb_backup.cli.summary import scope_text
from magnetodb_backup.cli.units import moment
from magnetodb_backup.domain.backup.proofs import Outcome, Rung
from magnetodb_backup.domain.backup.records import BackupRequest, Progress
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from tests.lab.catalogue import MISSING
from tests.unit.cli.conftest import CLUSTER, Shell, table
from tests.unit.domain.samples import PROOF

S = BackupStatus


def names(shell: Shell, *arguments: str) -> list[str]:
    outcome = shell("backup", "list", "-f", "json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    return [backup["name"] for backup in outcome.json]


def test_list_has_the_values_of_the_rest_api(shell: Shell) -> None:
    for name in ("a", "b ß🐘"):
        shell.backup(S.CREATED, name)
    listed = shell("backup", "list", "-f", "json").json
    assert [backup["name"] for backup in listed] == ["b ß🐘", "a"]
    for shown in listed:
        view = backup_view(shell.database.backups.get(shown["id"]))
        assert shown == {name: view[name] for name in shown}
        assert {"id", "name", "cluster", "status", "created_at", "files", "bytes"} <= set(shown)


def test_data_centres_are_shown(shell: Shell) -> None:
    whole = shell.backup(S.CREATED, "whole")
    request = BackupRequest({"type": "all"}, "some", data_centers=("dc1", "dc 2"))
    some = shell.database.backups.create(request, MISSING, CLUSTER)
    listed = {each["id"]: each for each in shell("backup", "list", "-f", "json").json}
    assert [listed[b.id]["data_centers"] for b in (whole, some)] == [[], ["dc1", "dc 2"]]
    assert "dc1, dc 2" in shell("backup", "list").out
    assert table(shell("backup", "show", some.id).out)["data centres"] == "dc1, dc 2"
    assert "data centres" not in shell("backup", "show", whole.id).out
    assert shell("backup", "show", some.id, "-f", "json").json["data_centers"] == ["dc1", "dc 2"]
    assert "dc1, dc 2" in shell("backup", "show", some.id, "-f", "value").out


def test_a_wait_is_shown_where_there_is_one(shell: Shell) -> None:
    """A table has the column only then; other forms always."""
    shell.backup(S.CREATED)
    assert "waiting_for" not in shell("backup", "list").out
    assert [row["waiting_for"] for row in shell("backup", "list", "-f", "json").json] == [""]
    waiting, text = shell.backup(), "waits for restore 8c7a of this cluster"
    shell.database.jobs.show_waiting(shell.job(waiting.id).id, text)
    assert text in shell("backup", "list").out
    rows = shell("backup", "list", "-f", "json").json
    assert [row["waiting_for"] for row in rows] == [text, ""]
    assert table(shell("backup", "show", waiting.id).out)["waiting for"] == text
    assert shell("backup", "show", waiting.id, "-f", "json").json["waiting_for"] == text
    chosen = shell("backup", "list", "-c", "id", "-c", "waiting_for").out
    assert text in chosen


def test_order_and_pages(shell: Shell) -> None:
    made = {name: shell.backup(S.CREATED, name) for name in ("b", "c", "a")}
    assert names(shell) == ["a", "c", "b"]
    assert names(shell, "--sort", "name") == ["a", "b", "c"]
    assert names(shell, "--sort", "name:desc", "--limit", "2") == ["c", "b"]
    assert names(shell, "--sort", "name", "--marker", made["a"].id, "--limit", "1") == ["b"]


def test_filters(shell: Shell) -> None:
    for status in S:
        shell.backup(status, status.value)
    assert set(names(shell)) == {s.value for s in S} - {"DELETED"}
    assert set(names(shell, "--all")) == {s.value for s in S}
    assert names(shell, "--status", "PARTIAL") == ["PARTIAL"]
    assert names(shell, "--cluster", "elsewhere") == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--sort", "size"], "sort is 'size'; use one of created_at"),
        (["--status", "LOST"], "status is 'LOST'; use one of CREATING"),
        (["--marker", "x"], "marker 'x' is no backup"),
        (["--limit", "0"], "limit is 0; use 1 or more"),
    ],
)
def test_wrong_choices_are_named(shell: Shell, arguments: list[str], named: str) -> None:
    assert named in shell.refused(2, "backup", "list", *arguments)


def test_other_forms(shell: Shell) -> None:
    backup = shell.backup(S.CREATED, "nightly ß")
    (row,) = csv.DictReader(io.StringIO(shell("backup", "list", "-f", "csv").out))
    assert (row["id"], row["name"], row["status"]) == (backup.id, "nightly ß", "CREATED")
    shown = yaml.safe_load(shell("backup", "show", backup.id, "-f", "yaml").out)
    assert (shown["name"], shown["scope"]) == ("nightly ß", {"type": "all"})
    assert "| nightly ß" in shell("backup", "show", backup.id).out
    assert shell("backup", "show", backup.id, "-f", "value", "-c", "status").out == "CREATED\n"
    assert shell("backup", "list", "-f", "value", "-c", "id").out == f"{backup.id}\n"


def test_show_has_the_values_of_the_rest_api(shell: Shell) -> None:
    backup = shell.backup(S.CREATED, "nightly")
    shell.database.backups.update(backup.id, coverage={"k": {"complete": True}}, bytes=2**40)
    node = shell.node_backup(backup)
    outcome = shell("backup", "show", backup.id, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json == backup_view(shell.database.backups.get(backup.id), [node], [], [])


def test_show_says_how_far_a_verification_is(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    assert "verification" not in shell("backup", "show", backup.id).out
    job = shell.services.requests().verify_backup(backup.id, read_data=True)
    node = {"host_id": "h", "address": "10.0.0.1", "bytes_total": 9000, "bytes_done": 3000}
    progress = {"step": "store", "nodes_total": 2, "nodes_done": 1, "nodes": [node | {"done": 0}]}
    shell.database.jobs.show_progress(job.id, progress)
    out = shell("backup", "show", backup.id).out
    assert "PENDING, step store, 1 of 2 nodes done" in out
    assert "10.0.0.1: 3.0 kB of 9.0 kB" in out


def test_show_says_that_a_sample_is_a_sample(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    label = Sample.of(5, 17).label()
    proof = replace(PROOF, rung=Rung.SAMPLE, outcome=Outcome.PROVED, detail=label)
    shell.database.proofs.put(backup.id, [proof])
    out = shell("backup", "show", backup.id).out
    assert f"sample: 1 table on {moment(PROOF.proved_at)}: sampled 5 % of the packs, seed 17" in out
    assert "read-data" not in out


def test_show_says_how_far_each_table_is_proved(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    good = [replace(PROOF, table=f"t{n}", outcome=Outcome.PROVED, detail="") for n in range(3)]
    bad = [replace(PROOF, table=f"b{n}", detail=f"reason {n}") for n in range(7)]
    shell.database.proofs.put(backup.id, [*good, *bad, replace(good[0], rung=Rung.EXISTS)])
    out = shell("backup", "show", backup.id).out
    at = moment(PROOF.proved_at)
    assert f"exists: 1 table on {at}" in out
    assert f"parse: 3 tables on {at}" in out
    assert f"parse: FAILED for shop.b0 on {at}: reason 0" in out
    assert "parse: FAILED for 2 more tables; see --long" in out
    groups = shell("backup", "show", backup.id, "-f", "json").json["proofs"]
    assert [len(group["tables"]) for group in groups] == [1, 1, 1, 1, 1, 1, 1, 1, 3]
    assert {"rung": "parse", "outcome": "failed", "detail": "reason 6"}.items() <= (
        groups[7].items()
    )
    assert "parse: failed at " in shell("backup", "show", backup.id, "--long").out


def test_show_for_people_has_nested_values_as_text(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    out = shell("backup", "show", backup.id, "--long").out
    assert '{"type": "all"}' in out
    assert "None" not in out


def test_show_for_people_has_what_they_need(shell: Shell) -> None:
    backup = shell.backup(S.PARTIAL, "nightly")
    shell.database.backups.update(
        backup.id,
        files=1200,
        bytes=2 * 10**9,
        bytes_uploaded=5 * 10**8,
        bytes_reused=15 * 10**8,
        skew_ms=165,
        coverage={"shop": {"status": "complete"}, "log": {"status": "partial"}},
    )
    progress = Progress(files_total=1200, files_done=1200, bytes_done=2 * 10**9)
    shell.node_backup(backup, phase="done", progress=progress)
    shell.node_backup(backup, host_id="h2", address="10.0.0.2", phase="missing", error="silent")
    fields = table(shell("backup", "show", backup.id).out)
    created = f"{shell.database.backups.get(backup.id).created_at:%Y-%m-%d %H:%M:%S} UTC"
    assert fields.pop("took").endswith(" s")
    assert fields == {
        "id": backup.id,
        "name": "nightly",
        "cluster": CLUSTER,
        "status": "PARTIAL",
        "scope": "all keyspaces",
        "created": created,
        "saved": "1,200 files, 2.0 GB",
        "new": "500.0 MB uploaded; 1.5 GB re-used, already in the store (75 %)",
        "restores": "shop: every row, from all its replicas\n"
        "log: every row, some from fewer replicas than the cluster has",
        "snapshots": "taken within 165 ms",
        "nodes": "10.0.0.1: done, 1,200 of 1,200 files, 2.0 GB, 0 bytes uploaded, 0 bytes re-used\n"
        "10.0.0.2: missing, 3 of 7 files, 0 bytes, 0 bytes uploaded, 0 bytes re-used: silent",
    }


def test_notes_are_not_errors(shell: Shell) -> None:
    whole, failed = shell.backup(), shell.backup()
    shell.database.backups.set_status(whole.id, S.CREATED, notes=("one", "two"))
    shell.database.backups.set_status(failed.id, S.CREATE_FAILED, error="why")
    shown = table(shell("backup", "show", whole.id).out)
    assert (shown["notes"], "error" in shown) == ("one\ntwo", False)
    shown = table(shell("backup", "show", failed.id).out)
    assert ("notes" in shown, shown["error"]) == (False, "why")


def test_a_running_backup_shows_its_step(shell: Shell) -> None:
    backup = shell.backup()
    shell.database.backups.update(backup.id, phase="upload")
    fields = table(shell("backup", "show", backup.id).out)
    assert (fields["step"], "took" in fields, "saved" in fields) == ("upload", False, False)


@pytest.mark.parametrize(
    ("scope", "text"),
    [
        ({"type": "keyspaces", "keyspaces": ["shop", "log"]}, "keyspaces shop, log"),
        ({"type": "tables", "tables": ["shop.orders"]}, "tables shop.orders"),
        ({"type": "matching", "pattern": "t*"}, 'matching {"pattern": "t*"}'),
        ({"type": "mine"}, "mine"),
    ],
)
def test_scopes_for_people(scope: dict[str, Any], text: str) -> None:
    assert scope_text(scope) == text


@pytest.mark.parametrize("form", ["value", "shell", "json", "yaml"])
def test_other_forms_have_all_fields(shell: Shell, form: str) -> None:
    backup = shell.backup(S.CREATED)
    plain = shell("backup", "show", backup.id, "-f", form).out
    assert plain == shell("backup", "show", backup.id, "-f", form, "--long").out
    names = list(backup_view(backup, [], [], []))
    assert len(table(shell("backup", "show", backup.id, "--long").out)) == len(names)
    if form == "shell":
        assert [line.partition("=")[0] for line in plain.splitlines()] == names


def test_a_listing_has_units_for_people_only(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    shell.database.backups.update(backup.id, bytes=1_500_000)
    assert "| 1.5 MB |" in shell("backup", "list").out
    for form in ("value", "csv"):
        assert "1500000" in shell("backup", "list", "-f", form, "-c", "bytes").out


def test_backup_by_name_and_by_the_first_digits(shell: Shell) -> None:
    backup = shell.backup(S.CREATED, "nightly")
    for named in ("nightly", backup.id[:8], backup.id):
        assert shell("backup", "show", named, "-f", "json").json["id"] == backup.id


def test_backup_that_is_not_there(shell: Shell) -> None:
    shell.backup(S.CREATED)
    for named in (MISSING, "nightly", ""):
        message = shell.refused(4, "backup", "show", named)
        assert message == f"there is no backup {named!r}; see backup list"


def test_digits_of_several(shell: Shell) -> None:
    ids = ["aaaaaaaa-1111-4111-8111-111111111111", "aaaaaaaa-2222-4222-8222-222222222222"]
    for backup_id in ids:
        shell.database.backups.create(BackupRequest({"type": "all"}), backup_id, "c")
    message = shell.refused(5, "backup", "show", "aaaaaaaa")
    assert all(backup_id in message for backup_id in ids)
