# SPDX-License-Identifier: Apache-2.0
"""backup list, backup show: what they show, and in which words."""

from __future__ import annotations

import csv
import io

import pytest
import yaml

from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from tests.lab.catalogue import MISSING
from tests.unit.cli.conftest import Shell

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
    assert outcome.json == backup_view(shell.database.backups.get(backup.id), [node])


def test_show_for_people_has_nested_values_as_text(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    out = shell("backup", "show", backup.id).out
    assert '{"type": "all"}' in out
    assert "None" not in out


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
