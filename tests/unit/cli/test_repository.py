# SPDX-License-Identifier: Apache-2.0
"""repository collect, repository show: what they ask for, and what they show at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import update

from magnetodb_backup.cli.growth import growth_fields
from magnetodb_backup.database.models import BackupRow
from magnetodb_backup.domain.backup.collection import ContainerUse
from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.backup.views import collection_view
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.collection_steps import Collected, NodeCollected
from tests.lab.processes import wait_for
from tests.unit.cli.conftest import CLUSTER, Meanwhile, Shell, table
from tests.unit.domain.samples import HOST_ID, REPORT

USE = ContainerUse(
    packs=10, bytes=10_000, live_packs=7, live_bytes=7000, shared_bytes=2000, waiting_packs=1,
    waiting_bytes=1000, due_packs=2, due_bytes=2000, freed_packs=2, freed_bytes=2000,
)  # fmt: skip
OTHER = "99999999-9999-4999-8999-999999999999"


def result(**values: Any) -> Mapping[str, Any]:
    fields = {
        "cluster": CLUSTER,
        "dry_run": False,
        "grace": 86400.0,
        "total": USE,
        "nodes": {HOST_ID: NodeCollected("10.0.0.1", use=USE)},
        **values,
    }
    return encode(Collected(**fields))


@pytest.fixture(autouse=True)
def reported(shell: Shell) -> None:
    shell.database.nodes.report(REPORT)


def only_job(shell: Shell, kind: str = JobKind.COLLECTION) -> Job:
    found: list[Job] = []

    def look() -> bool:
        found[:] = [j for j in shell.database.jobs.unfinished() if j.kind == kind]
        return bool(found)

    wait_for(look, deadline=30, what=f"a {kind}", interval=0.02)
    return found[0]


def conducted(
    shell: Shell, meanwhile: Meanwhile, kind: str, status: JobStatus, **values: Any
) -> None:
    """End the job of the command that follows."""

    def conduct() -> None:
        job = only_job(shell, kind)
        shell.database.jobs.finish(job.id, status, **values)

    meanwhile(conduct)


def test_collection_is_asked_for(shell: Shell) -> None:
    outcome = shell(
        "repository", "collect", "--dry-run", "--grace", "60", "--no-wait", "-f", "json"
    )
    assert (outcome.code, outcome.err) == (0, "")
    job = only_job(shell)
    view = collection_view(job)
    view.pop("result")
    assert outcome.json == view
    assert (job.cluster, dict(job.parameters)) == (CLUSTER, {"dry_run": True, "grace": 60.0})
    assert shell.woken == 1
    refusal = shell.refused(5, "repository", "collect", "--no-wait")
    assert f"a collection of cluster {CLUSTER} is PENDING" in refusal


def test_repacking_is_asked_for(shell: Shell) -> None:
    shell("repository", "collect", "--repack", "40", "--repack-minimum", "1000", "--no-wait")
    parameters = only_job(shell).parameters
    assert (parameters["repack"], parameters["repack_minimum"]) == (40, 1000)


@pytest.mark.parametrize("percent", ["0", "91"])
def test_repacking_that_is_impossible(shell: Shell, percent: str) -> None:
    refusal = shell.refused(2, "repository", "collect", f"--repack={percent}")
    assert refusal.startswith(f"packs with {percent} % of live bytes cannot be repacked; use 1")


def test_cost_of_repacking_is_shown(shell: Shell, meanwhile: Meanwhile) -> None:
    use = replace(
        USE, repack_packs=3, repack_read_bytes=3000, repack_written_packs=1,
        repack_written_bytes=300, repack_requests=8, repack_frees_bytes=2700, repack_unreadable=1,
    )  # fmt: skip
    found = result(dry_run=True, total=use)
    conducted(shell, meanwhile, JobKind.COLLECTION, JobStatus.DONE, result=found)
    shown = table(shell("repository", "collect", "--dry-run", "--repack", "40").out)
    assert shown["would repack"] == "3 packs"
    assert shown["repacking reads"] == "3.0 kB"
    assert shown["repacking writes"] == "1 pack, 300 bytes"
    assert shown["repacking requests"] == "8"
    assert shown["repacking frees"] == "2.7 kB, 24 h 0 min after it"
    assert shown["not repacked, damaged"] == "1 pack"


@pytest.mark.parametrize("grace", ["-1", "nan", "inf"])
def test_grace_that_is_no_time(shell: Shell, grace: str) -> None:
    refusal = shell.refused(2, "repository", "collect", f"--grace={grace}")
    assert refusal.startswith(f"the grace period is {grace}; use 0")


@pytest.mark.parametrize("command", ["collect", "show"])
def test_unknown_cluster(shell: Shell, command: str) -> None:
    assert "no worker reports a cluster 'x'" in shell.refused(
        4, "repository", command, "--cluster", "x"
    )


def test_what_was_freed_is_shown(shell: Shell, meanwhile: Meanwhile) -> None:
    conducted(shell, meanwhile, JobKind.COLLECTION, JobStatus.DONE, result=result())
    outcome = shell("repository", "collect")
    assert outcome.code == 0, outcome.err
    shown = table(outcome.out)
    assert shown["freed"] == "2 packs, 2.0 kB"
    assert shown["waits for the grace period"] == "1 pack, 1.0 kB (24 h 0 min)"
    assert shown["nodes"] == "10.0.0.1: 2 packs, 2.0 kB of 10.0 kB"


def test_dry_run_shows_what_would_be_freed(shell: Shell, meanwhile: Meanwhile) -> None:
    found = result(dry_run=True)
    conducted(shell, meanwhile, JobKind.COLLECTION, JobStatus.DONE, result=found)
    assert table(shell("repository", "collect", "--dry-run").out)["would free now"].startswith("2 ")


def test_nodes_that_were_not_collected_make_it_partial(shell: Shell, meanwhile: Meanwhile) -> None:
    nodes = {
        HOST_ID: NodeCollected("10.0.0.1", adopted=True, use=USE),
        OTHER: NodeCollected(error="no live worker"),
    }
    conducted(shell, meanwhile, JobKind.COLLECTION, JobStatus.DONE, result=result(nodes=nodes))
    outcome = shell("repository", "collect")
    assert (outcome.code, outcome.err) == (3, f"warning: node {OTHER}: no live worker\n")
    assert f"{OTHER}: not collected" in table(outcome.out)["nodes"]
    assert "(of a node that has left)" in table(outcome.out)["nodes"]


def test_collection_that_fails(shell: Shell, meanwhile: Meanwhile) -> None:
    conducted(shell, meanwhile, JobKind.COLLECTION, JobStatus.FAILED, error="no worker")
    outcome = shell("repository", "collect")
    assert (outcome.code, outcome.err) == (1, "error: the collection is FAILED: no worker\n")


def test_what_is_stored_is_shown(shell: Shell, meanwhile: Meanwhile) -> None:
    held = {f"{n:08d}-0000-4000-8000-000000000000": n * 1000 for n in range(30)}
    found = result(dry_run=True, backups=held)
    conducted(shell, meanwhile, JobKind.SURVEY, JobStatus.DONE, result=found)
    outcome = shell("repository", "show")
    assert outcome.code == 0, outcome.err
    shown = table(outcome.out)
    assert shown["stored"] == "10 packs, 10.0 kB"
    assert shown["needed by none"].startswith("3 packs, 3.0 kB")
    lines = shown["deleting frees"].splitlines()
    assert lines[0].strip() == "00000029-0000-4000-8000-000000000000: 29.0 kB"
    assert lines[-1].strip() == "10 more backups: 45.0 kB; see --long"


def test_what_is_stored_as_json(shell: Shell, meanwhile: Meanwhile) -> None:
    conducted(shell, meanwhile, JobKind.SURVEY, JobStatus.DONE, result=result(backups={OTHER: 5}))
    found = shell("repository", "show", "-f", "json").json
    assert (found["backups"], found["total"]["packs"]) == ({OTHER: 5}, 10)


def grown(shell: Shell) -> None:
    """Record backups of the last days, each with 100 new bytes of most of many tables."""
    for days in (6, 4, 2, 0):
        backup = shell.backup(BackupStatus.CREATED)
        tables = [TableBytes("ks", f"t{n:02}", 1000, 100) for n in range(25)]
        shell.database.growth.record(backup.id, tables)
        with shell.database._engine.begin() as connection:
            at = datetime.now(timezone.utc) - timedelta(days=days)
            values = {"finished_at": at}
            connection.execute(update(BackupRow).where(BackupRow.id == backup.id).values(values))


@pytest.mark.parametrize(
    ("options", "full"),
    [
        ([], "full in 73 days, at 100.0 kB"),
        (["--capacity", "50000"], "full in 33 days, at 50.0 kB"),
    ],
)
def test_growth_and_forecast(
    shell: Shell, meanwhile: Meanwhile, options: list[str], full: str
) -> None:
    grown(shell)
    conducted(shell, meanwhile, JobKind.SURVEY, JobStatus.DONE, result=result(quota=100_000))
    shown = table(shell("repository", "show", *options).out)
    assert shown["added in 30 days"] == "10.0 kB by 4 backups, 1.2 kB a day"
    lines = [line.strip() for line in shown["added by table"].splitlines()]
    assert lines[0] == "ks.t00: 400 bytes by 4 backups, 50 bytes a day"
    assert (len(lines), lines[-1]) == (21, "5 more tables: 2.0 kB; see --long")
    near, left = [line.strip() for line in shown["forecast"].splitlines()]
    assert near == "45.5 kB in 30 days, 120.5 kB in 90 days, if nothing is removed"
    assert left == full


def test_growth_without_enough_data(shell: Shell, meanwhile: Meanwhile) -> None:
    conducted(shell, meanwhile, JobKind.SURVEY, JobStatus.DONE, result=result())
    assert table(shell("repository", "show").out)["forecast"].startswith("not enough data: 0 ")
    outcome = shell("repository", "show", "--no-wait", "-f", "json")
    assert outcome.json["growth"]["forecast"] is None
    assert "the capacity is 0 bytes" in shell.refused(2, "repository", "show", "--capacity", "0")


def test_growth_that_never_fills_the_store() -> None:
    full = {"in_30_days": 1, "in_90_days": 1, "capacity": 1000, "days_left": None}
    rate = {"backups": 3, "added": 0, "per_day": 0}
    lines = growth_fields({**rate, "tables": [], "forecast": full, "missing": ""})["forecast"]
    assert lines.splitlines()[1] == "not full: nothing is added, at 1.0 kB"
