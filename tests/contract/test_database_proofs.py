# SPDX-License-Identifier: Apache-2.0
"""What the proofs of backups promise, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, Subject
from tests.lab.catalogue import recorded

_AT = datetime(2026, 11, 30, 12, 0, 0, 123456, timezone.utc)
_JOB = "11111111-2222-4333-8444-555555555555"


def proof(table: str = "t", **values: object) -> Proof:
    kept = Proof("shop", table, Rung.PARSE, Outcome.PROVED, _AT, _JOB)
    return replace(kept, **values)  # type: ignore[arg-type]


def test_proofs_are_kept_whole(database: Database) -> None:
    backup, other = (recorded(database, "c", BackupStatus.CREATED) for _ in range(2))
    proofs = (
        proof(
            "",
            keyspace="Shop",
            rung=Rung.SCHEMA,
            outcome=Outcome.FAILED,
            detail="\u00df \U0001f418" * 50,
        ),
        proof("T", rung=Rung.EXISTS),
        proof("t", rung=Rung.EXISTS),
        proof("x" * 222, keyspace="k" * 222),
    )
    database.proofs.put(backup.id, proofs)
    assert set(database.proofs.of(backup.id)) == set(proofs)
    assert database.proofs.of(other.id) == ()


def test_a_later_result_replaces_the_earlier_one(database: Database) -> None:
    backup = recorded(database, "c", BackupStatus.CREATED)
    database.proofs.put(backup.id, [proof("a"), proof("b"), proof("a", rung=Rung.EXISTS)])
    later = proof("a", outcome=Outcome.FAILED, proved_at=_AT + timedelta(1), detail="why")
    for _ in range(2):  # a step may be repeated
        database.proofs.put(backup.id, [later])
    assert set(database.proofs.of(backup.id)) == {
        later, proof("b"), proof("a", rung=Rung.EXISTS),
    }  # fmt: skip


def test_many_tables(database: Database) -> None:
    backup = recorded(database, "c", BackupStatus.CREATED)
    proofs = [proof(f"t{number}", rung=rung) for number in range(1000) for rung in Rung]
    database.proofs.put(backup.id, proofs)
    assert len(database.proofs.of(backup.id)) == 1000 * len(Rung)


def test_proofs_are_deleted_with_their_backup(database: Database) -> None:
    backup, other = (recorded(database, "c", BackupStatus.CREATED) for _ in range(2))
    for each in (backup, other):
        database.proofs.put(each.id, [proof()])
    database.backups.set_status(backup.id, BackupStatus.DELETING)
    assert database.proofs.of(backup.id) == (proof(),)
    database.backups.set_status(backup.id, BackupStatus.DELETED)
    assert database.proofs.of(backup.id) == ()
    assert database.proofs.of(other.id) == (proof(),)


def test_progress_of_a_job(database: Database) -> None:
    backup = recorded(database, "c", BackupStatus.CREATED)
    subject = Subject.backup(backup.id)
    job = database.jobs.create(JobKind.VERIFICATION, subject, "c", {})
    assert job.progress is None
    database.jobs.show_progress(job.id, {"step": "parse", "files_done": 3})
    assert database.jobs.get(job.id).progress == {"step": "parse", "files_done": 3}
