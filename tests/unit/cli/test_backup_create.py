# SPDX-License-Identifier: Apache-2.0
"""backup create: what is asked for, and what the end of waiting means."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Backup, BackupRequest, Progress
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import backup_view
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import CLUSTER, Meanwhile, Shell
from tests.unit.domain.samples import REPORT

S = BackupStatus


@pytest.mark.parametrize(
    ("arguments", "scope"),
    [
        (["--all-keyspaces"], {"type": "all"}),
        (["--keyspace", "k"], {"type": "keyspaces", "keyspaces": ["k"]}),
        (
            ["--keyspace", "k", "--keyspace", "Two"],
            {"type": "keyspaces", "keyspaces": ["k", "Two"]},
        ),
        (
            ["--table", "k.t", "--table", 'k."T"'],
            {"type": "tables", "tables": ["k.t", 'k."T"']},
        ),
        (
            ["--scope", "keyspaces", "--scope-parameter", 'keyspaces=["k", "Two"]'],
            {"type": "keyspaces", "keyspaces": ["k", "Two"]},
        ),
    ],
)
def test_scopes(shell: Shell, arguments: list[str], scope: dict[str, Any]) -> None:
    outcome = shell("backup", "create", *arguments, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json["scope"] == scope
    assert shell.database.backups.get(outcome.json["id"]).scope == scope
    assert shell.woken == 1


def test_all_options(shell: Shell) -> None:
    shell.database.nodes.report(replace(REPORT, worker_id="w2", cluster="other"))
    options = ["--name", "nightly ß", "--cluster", CLUSTER, "--on-corrupt", "mark"]
    options += ["--allow-partial", "--fingerprints", "-f", "json"]
    record = shell("backup", "create", "--all-keyspaces", *options).json
    backup = shell.database.backups.get(record["id"])
    assert record == backup_view(backup, [])
    assert (backup.name, backup.cluster) == ("nightly ß", CLUSTER)
    assert (backup.allow_partial, backup.on_corrupt, backup.type) == (True, "mark", "full")
    assert backup.figures


def test_data_centres(shell: Shell) -> None:
    arguments = ["backup", "create", "--all-keyspaces", "--dc", "dc1"]
    record = shell(*arguments, "-f", "json").json
    assert record["data_centers"] == ["dc1"]
    assert shell.database.backups.get(record["id"]).data_centers == ("dc1",)
    refused = shell(*arguments, "--dc", "dc9")
    assert refused.code == 4
    assert "in data centre dc9; known: dc1" in refused.err


def test_defaults(shell: Shell) -> None:
    record = shell("backup", "create", "--all-keyspaces", "-f", "json").json
    assert record["status"] == "CREATING"
    assert (record["name"], record["allow_partial"], record["on_corrupt"]) == ("", False, "fail")
    assert record["figures"] is False


@pytest.mark.parametrize(
    ("code", "arguments", "named"),
    [
        (2, ["--scope", "galaxy"], "'galaxy' is not a scope type; installed: all"),
        (2, ["--table", "k"], "'k' is not a table"),
        (2, ["--keyspace", "../etc"], "'../etc'"),
        (2, ["--all-keyspaces", "--scope-parameter", "a=1"], "--scope-parameter is only for"),
        (2, ["--scope", "all", "--scope-parameter", "a"], "'a' is not KEY=JSON"),
        (2, ["--scope", "all", "--scope-parameter", "a=[1"], "'a=[1' is not KEY=JSON"),
        (2, ["--scope", "keyspaces", "--scope-parameter", 'keyspaces=["a=b"]'], "'a=b'"),
        (2, ["--all-keyspaces", "--name", "x" * 256], "255"),
        (2, ["--all-keyspaces", "--name", "\udcff"], "control characters"),
        (4, ["--all-keyspaces", "--cluster", "other"], f"known: '{CLUSTER}'"),
        (5, ["--all-keyspaces", "--name", "taken"], "already has the name 'taken'"),
    ],
)
def test_refusals_record_nothing(shell: Shell, code: int, arguments: list[str], named: str) -> None:
    taken = shell.backup(S.CREATED, "taken")
    assert named in shell.refused(code, "backup", "create", *arguments)
    assert shell.database.backups.list() == (taken,)
    assert shell.woken == 0


def test_the_former_name_of_fingerprints_is_accepted_and_hidden(shell: Shell) -> None:
    record = shell("backup", "create", "--all-keyspaces", "--figures", "-f", "json").json
    assert record["figures"] is True
    help_text = shell("backup", "create", "--help").out
    assert ("--figures" in help_text, "--fingerprints" in help_text) == (False, True)


def test_only_existing_types_are_offered(shell: Shell) -> None:
    outcome = shell("backup", "create", "--all-keyspaces", "--type", "incremental")
    assert (outcome.code, shell.database.backups.list()) == (2, ())
    assert outcome.err.endswith("--type: invalid choice: 'incremental' (choose from 'full')\n")
    assert "incremental" not in shell("backup", "create", "--help").out


def test_several_clusters(shell: Shell) -> None:
    shell.database.nodes.report(replace(REPORT, worker_id="w2", cluster="other"))
    message = shell.refused(2, "backup", "create", "--all-keyspaces")
    assert message == f"there are several clusters, name one: '{CLUSTER}', 'other'"


# Waiting


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (S.CREATED, 0),
        (S.PARTIAL, 3),
        (S.CREATE_FAILED, 1),
        (S.CANCELLED, 1),
        (S.DELETED, 1),
    ],
)
def test_end_is_the_exit_code(
    shell: Shell, meanwhile: Meanwhile, end: BackupStatus, code: int
) -> None:
    why = "node 10.0.0.1 was missing"
    error, notes = ("", (why,)) if end in (S.CREATED, S.PARTIAL) else (why, ())
    ended = threading.Event()

    def conduct() -> None:
        (job,) = wait_for(shell.database.jobs.unfinished, deadline=30, what="a job")
        way = [S.CREATED, S.DELETING] if end is S.DELETED else []
        for status in [*way, end]:
            shell.database.backups.set_status(job.backup_id, status, error=error, notes=notes)
        ended.set()

    class Requests(RecordedRequests):
        """Returns when the backup has its last status: waiting must not end by one before."""

        def create_backup(self, request: BackupRequest) -> Backup:
            backup = super().create_backup(request)
            assert ended.wait(30)
            return backup

    def requests() -> RecordedRequests:
        return Requests(shell.database, load_scope, lambda: None, known_within=60, prefix="p")

    meanwhile(conduct)
    waiting = ["--wait", "--timeout", "30", "-f", "json"]
    services = replace(shell.services, requests=requests)
    outcome = shell("backup", "create", "--all-keyspaces", *waiting, services=services)
    assert outcome.code == code
    assert outcome.json["status"] == end.value
    assert outcome.json["notes"] == list(notes)
    expected = {
        S.CREATED: f"warning: {why}\n",
        S.PARTIAL: f"warning: PARTIAL: {why}\n",
    }
    assert outcome.err == expected.get(end, f"error: {end.value}: {why}\n")


def test_what_a_created_backup_lacks_is_a_warning(shell: Shell, meanwhile: Meanwhile) -> None:
    """Missing fingerprints and old SSTables are no failure; each note is a line of its own."""

    def conduct() -> None:
        (job,) = wait_for(shell.database.jobs.unfinished, deadline=30, what="a job")
        shell.database.backups.set_status(
            job.backup_id, S.CREATED, notes=("no fingerprints", "old SSTables")
        )

    meanwhile(conduct)
    outcome = shell("backup", "create", "--all-keyspaces", "--figures", "--wait", "-f", "json")
    assert outcome.code == 0
    assert outcome.err.endswith("warning: no fingerprints\nwarning: old SSTables\n")


def test_progress_is_told_in_plain_lines(shell: Shell, meanwhile: Meanwhile) -> None:
    database = shell.database

    def conduct() -> None:
        (job,) = wait_for(database.jobs.unfinished, deadline=30, what="a job")
        backup = database.backups.get(job.backup_id)
        database.backups.update(backup.id, phase="upload")
        progress = Progress(
            files_total=7,
            files_done=3,
            bytes_total=100,
            bytes_done=40,
            bytes_uploaded=20,
            bytes_reused=15,
        )
        shell.node_backup(backup, address="10.0.0.1", progress=progress)
        shell.wait_told("files")
        database.backups.set_status(backup.id, S.CREATED)
        database.jobs.finish(job.id, JobStatus.DONE)

    meanwhile(conduct)
    outcome = shell("backup", "create", "--all-keyspaces", "--wait", "-f", "json")
    assert outcome.code == 0
    assert f"{outcome.json['id']}: upload\n" in outcome.err
    line = "10.0.0.1: 3 of 7 files, 40 bytes of 100 bytes, 20 bytes uploaded, 15 bytes re-used\n"
    assert line in outcome.err
    assert "\x1b" not in outcome.err
    (node,) = outcome.json["nodes"]
    assert node["files_done"] == 3
