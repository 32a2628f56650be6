# SPDX-License-Identifier: Apache-2.0
"""Traps 5 and 6: deletions and undeletions of a conductor that is killed at each write to Swift."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from magnetodb_backup.domain.backup.status import BackupStatus
from tests.functional.comparing import compare
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for
from tests.lab.rig import Rig

_SELECTION = ("--keyspace", "faults")


@contextmanager
def _held(rig: Rig, *command: str, method: str, at: str) -> Iterator[Future[Outcome]]:
    """Run a command that waits, and hold its job where it asks Swift for a path with ``at``."""
    rig.proxy.hang(method=method, path_contains=at)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(rig.deployment.manage, *command, "--wait", "--timeout", "200")
        try:
            wait_for(
                lambda: rig.proxy.held or future.done(), deadline=90, what=f"a {method} of {at}"
            )
            assert rig.proxy.held, future.result().err
            yield future
        finally:
            rig.proxy.clear()


def _killed(rig: Rig, *command: str, method: str, at: str) -> str:
    """Kill the conductor at a write of a job; return the status after another one ended it."""
    with _held(rig, *command, method=method, at=at) as ended:
        rig.deployment.conductor.kill()
        rig.proxy.clear()
        rig.deployment.conductor.start()
        outcome = ended.result(timeout=220)
    assert outcome.code == 0, outcome.err
    return str(outcome.json["status"])


def _is_whole(rig: Rig, backup_id: str) -> None:
    record = rig.deployment.manage("backup", "show", backup_id).json
    assert (record["status"], record["undelete_until"]) == ("CREATED", None)
    verified = rig.deployment.manage("backup", "verify", backup_id, "--read-data")
    assert verified.code == 0, verified.err
    compare(rig, record, ["faults.t"])


@pytest.mark.parametrize(
    ("method", "at"),
    [("PUT", "/deleted/{id}/"), ("DELETE", "/backups/{id}/manifest.json")],
    ids=["set aside", "remove"],
)
def test_trap_5_conductor_killed_in_a_deletion(broken: Rig, method: str, at: str) -> None:
    """unit/conductor/test_deletion proves each write without servers."""
    backup = broken.created(*_SELECTION)["id"]
    command = ("backup", "delete", backup)
    assert _killed(broken, *command, method=method, at=at.format(id=backup)) == "DELETED"
    deleted = broken.deployment.database.backups.get(backup)
    assert deleted.undelete_until is not None
    undeleted = broken.deployment.manage("backup", "undelete", backup, "--wait")
    assert undeleted.code == 0, undeleted.err
    _is_whole(broken, backup)


@pytest.mark.parametrize(
    ("method", "at"),
    [("PUT", "/backups/{id}/manifest.json"), ("DELETE", "/deleted/{id}/")],
    ids=["put back", "forget"],
)
def test_trap_5_conductor_killed_in_an_undeletion(broken: Rig, method: str, at: str) -> None:
    """unit/conductor/test_undeletion proves each write without servers."""
    backup = broken.created(*_SELECTION)["id"]
    assert broken.deployment.manage("backup", "delete", backup, "--wait").code == 0
    command = ("backup", "undelete", backup)
    assert _killed(broken, *command, method=method, at=at.format(id=backup)) == "CREATED"
    _is_whole(broken, backup)


def test_trap_6_undeletion_after_the_record_is_lost(broken: Rig) -> None:
    """What is deleted, and until when it can be undeleted, is in Swift."""
    backup = broken.created(*_SELECTION)["id"]
    assert broken.deployment.manage("backup", "delete", backup, "--wait").code == 0
    before = broken.deployment.database.backups.get(backup)
    with broken.deployment.database._engine.begin() as connection:
        for table, column in (("backups", "id"), ("node_backups", "backup_id")):
            connection.execute(text(f"DELETE FROM {table} WHERE {column} = '{backup}'"))
    assert broken.deployment.manage("backup", "show", backup).code == 4
    rebuilt = broken.deployment.manage("catalogue", "rebuild")
    results = {row["id"]: row["result"] for row in rebuilt.json}
    assert results[backup] == "added"
    known = broken.deployment.database.backups.get(backup)
    assert known.status is BackupStatus.DELETED
    assert known.undelete_until == before.undelete_until
    assert broken.deployment.manage("backup", "undelete", backup, "--wait").code == 0
    _is_whole(broken, backup)
