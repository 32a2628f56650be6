# SPDX-License-Identifier: Apache-2.0
"""--as-of of backup verify and catalogue rebuild."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from magnetodb_backup.cli.verification import problems_of, running_lines
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.stored_backups import StoredBackups
from tests.lab.versioned import VersionedMemory
from tests.unit.cli.conftest import CLUSTER, Shell
from tests.unit.cli.test_catalogue import PREFIX, put, rebuilt, stored

S = BackupStatus
THEN = "2024-05-06T07:08:09Z"


@pytest.fixture
def store(shell: Shell) -> VersionedMemory:
    driver = VersionedMemory(start=datetime.fromisoformat(THEN))
    shell.catalogue = StoredBackups(driver, PREFIX)
    return driver


def as_of(store: VersionedMemory) -> tuple[str, str]:
    return "--as-of", store.now().isoformat()


def destroy(shell: Shell, backup_id: str) -> None:
    ClusterRepository(shell.catalogue.driver, PREFIX, CLUSTER).delete_backup(backup_id)


def test_destroyed_backups_are_recorded_with_a_note(shell: Shell, store: VersionedMemory) -> None:
    first, second = stored(shell, 1), stored(shell, 2)
    then = as_of(store)
    put(shell, first, b"overwritten")
    destroy(shell, second)
    third = stored(shell, 3)
    assert rebuilt(shell, *then, "--dry-run") == dict.fromkeys((first, second), "would be added")
    assert rebuilt(shell, *then) == dict.fromkeys((first, second), "added")
    *_, note = shell.database.backups.get(first).notes
    assert note.startswith(f"recorded from the store as it was at {then[1]}")
    assert rebuilt(shell, *then) == dict.fromkeys((first, second), "known")
    assert rebuilt(shell, code=3)[third] == "added"
    assert rebuilt(shell, *then) == dict.fromkeys((first, second), "known")  # nothing of the third


def test_the_rebuild_of_today_has_no_note(shell: Shell, store: VersionedMemory) -> None:
    first = stored(shell, 1)
    rebuilt(shell)
    assert "recorded from" not in " ".join(shell.database.backups.get(first).notes)


def test_another_manifest_needs_attention(shell: Shell, store: VersionedMemory) -> None:
    first = stored(shell, 1)
    then = as_of(store)
    stored(shell, 1, missing_nodes=("more",))
    rebuilt(shell)
    assert "another manifest" in rebuilt(shell, *then, code=3)[first]


def test_a_store_without_versions_is_named(shell: Shell) -> None:
    stored(shell, 1)
    refusal = shell.refused(2, "catalogue", "rebuild", "--as-of", THEN)
    assert "MemoryDriver keeps no earlier versions" in refusal
    assert "[swift] versions = true" in refusal


@pytest.mark.parametrize("command", [("catalogue", "rebuild"), ("backup", "verify", "{id}")])
def test_wrong_times_are_refused(
    shell: Shell, store: VersionedMemory, command: tuple[str, ...]
) -> None:
    backup = shell.backup(S.CREATED)
    words = [word.format(id=backup.id) for word in command]
    assert "in the future" in shell.refused(2, *words, "--as-of", "2999-01-01")
    outcome = shell(*words, "--as-of", "noon")
    assert outcome.code == 2
    assert "'noon' is not a time" in outcome.err


def test_a_verification_is_asked_for(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    outcome = shell("backup", "verify", backup.id, "--as-of", THEN, "--no-wait")
    assert outcome.code == 0
    job = shell.job(backup.id, JobKind.VERIFICATION)
    assert job.parameters["as_of"] == "2024-05-06T07:08:09+00:00"
    shell.database.jobs.show_progress(job.id, {"step": "store", "nodes_total": 0})
    job = shell.job(backup.id, JobKind.VERIFICATION)
    assert next(running_lines(job)) == "PENDING, step store, store as of 2024-05-06 07:08:09 UTC"


def test_a_restore_is_asked_for(shell: Shell) -> None:
    backup = shell.backup(S.CREATED)
    assert shell("restore", "create", backup.id, "--as-of", THEN, "--yes").code == 0
    (restore,) = shell.database.restores.list()
    assert restore.request.as_of == "2024-05-06T07:08:09+00:00"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"as_of": THEN}, []),
        ({}, ["the conductor has verified the present store instead of an earlier state"]),
    ],
)
def test_an_older_conductor_is_found_out(
    shell: Shell, result: dict[str, Any], expected: list[str]
) -> None:
    backup = shell.backup(S.CREATED)
    shell("backup", "verify", backup.id, "--as-of", THEN, "--no-wait")
    job = shell.job(backup.id, JobKind.VERIFICATION)
    shell.database.jobs.finish(job.id, JobStatus.DONE, result={"problems": [], **result})
    found = [text.partition(";")[0] for text in problems_of(shell.database.jobs.get(job.id))]
    assert found == expected
