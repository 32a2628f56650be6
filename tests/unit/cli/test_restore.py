# SPDX-License-Identifier: Apache-2.0
"""restore list, restore show, restore cancel."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.fingerprints import TableCheck
from magnetodb_backup.domain.restore.records import RestoreStatus
from magnetodb_backup.domain.restore.views import restore_view
from tests.lab.catalogue import MISSING
from tests.unit.cli.conftest import CLUSTER, Meanwhile, Shell

R = RestoreStatus


def test_listing(shell: Shell) -> None:
    running, planned = shell.restore(), shell.restore(R.PLANNED)
    rows = shell("restore", "list", "-f", "json").json
    assert [row["id"] for row in rows] == [planned.id, running.id]
    assert (rows[0]["status"], rows[0]["backup_id"]) == ("PLANNED", planned.backup_id)
    assert shell("restore", "list", "--status", "PLANNED", "-f", "json").json == rows[:1]
    assert shell("restore", "list", "--cluster", CLUSTER, "-f", "json").json == rows
    assert shell("restore", "list", "--cluster", "other", "-f", "json").json == []
    assert shell("restore", "list", "--limit", "1", "-f", "json").json == rows[:1]
    assert shell("restore", "list", "--marker", planned.id, "-f", "json").json == rows[1:]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("--status", "CREATED", "RESTORING"), ("--marker", MISSING, MISSING), ("--limit", "0", "0")],
)
def test_wrong_choices_are_named(shell: Shell, option: str, value: str, named: str) -> None:
    assert named in shell.refused(2, "restore", "list", option, value)


def test_showing_as_json_is_the_whole_record(shell: Shell) -> None:
    restore = shell.restore()
    plan = {"problems": ["no space"], "tables": []}
    restore = shell.database.restores.update(restore.id, plan=plan, tables={"k.t": "untouched"})
    node = shell.node_restore(restore.id)
    outcome = shell("restore", "show", restore.id[:10], "-f", "json")
    assert outcome.json == restore_view(restore, [node])
    assert outcome.code == 0


def test_showing_for_people(shell: Shell) -> None:
    restore = shell.restore()
    plan = {"problems": ["no space left"], "method_by_keyspace": {"k": "import"}}
    check = TableCheck(equal=63, different=1, rows_expected=300, rows_found=299).as_json()
    shell.database.restores.update(
        restore.id, plan=plan, tables={"k.t": "untouched"}, checks={"k.t": check}
    )
    shell.node_restore(restore.id, error="disk broken")
    out = shell("restore", "show", restore.id).out
    table, _, below = out.rpartition("+\n")
    assert (
        "10.0.0.1: download, 3 of 7 files, 40 bytes of 100 bytes, 0 SSTables imported: disk "
        in table
    )
    assert "k.t: untouched" in table
    assert "k.t: 63 of 64 token ranges equal, 299 rows of 300" in table
    assert "no space left" not in table
    assert "How each node gets its files\n  k: imported" in below
    assert below.endswith("Problems, which refuse the restore\n  no space left\n")
    assert "How each node" not in shell("restore", "show", restore.id, "-c", "status").out


def test_a_request_shows_only_what_is_unusual(shell: Shell) -> None:
    restore = shell.restore()
    out = shell("restore", "show", restore.id, "-f", "value", "-c", "request").out
    assert out == "{}\n"
    asked = ["--existing", "merge", "--cluster", CLUSTER]
    made = shell("restore", "create", restore.backup_id, *asked, "-f", "json").json
    out = shell("restore", "show", made["id"], "-f", "value", "-c", "request").out
    assert out == f'{{"cluster": "{CLUSTER}", "existing": "merge"}}\n'


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_missing_restore_is_named(shell: Shell, command: str) -> None:
    message = shell.refused(4, "restore", command, MISSING)
    assert message == f"there is no restore '{MISSING}'; see restore list"


def test_cancelling(shell: Shell) -> None:
    restore = shell.restore()
    outcome = shell("restore", "cancel", restore.id, "-f", "json")
    assert (outcome.code, outcome.json["status"]) == (0, "RESTORING")
    assert shell.database.jobs.get(restore.id).cancel_requested
    assert shell.woken == 1
    ended = shell.restore(R.RESTORED)
    assert "is RESTORED; only" in shell.refused(5, "restore", "cancel", ended.id)


@pytest.mark.parametrize(("end", "code"), [(R.CANCELLED, 0), (R.RESTORED, 1)])
def test_waiting_for_the_cancellation(
    shell: Shell, meanwhile: Meanwhile, end: RestoreStatus, code: int
) -> None:
    restore = shell.restore()

    def conduct() -> None:
        shell.wait_told("import")
        shell.database.restores.set_status(restore.id, end, "why")

    shell.database.restores.update(restore.id, phase="import")
    meanwhile(conduct)
    outcome = shell("restore", "cancel", restore.id, "--wait", "--timeout", "30", "-f", "json")
    assert (outcome.code, outcome.json["status"]) == (code, end.value)
    told = f"error: the restore is {end.value}, not CANCELLED: why\n"
    assert outcome.err.endswith(told) is bool(code)
