# SPDX-License-Identifier: Apache-2.0
"""Many writers at once, on every database: nothing is lost, and nobody sees a conflict."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from magnetodb_backup.database import Database, connect
from magnetodb_backup.database.backup_rows import BACKUPS
from magnetodb_backup.database.session import Transactions, make_engine
from magnetodb_backup.domain.backup.records import Backup, BackupRequest, Progress
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import Job, JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import RestoreRequest
from magnetodb_backup.errors import BackupError, Conflict
from tests.lab.catalogue import job_of
from tests.lab.mariadb import MariaDB
from tests.unit.domain.samples import NODE_BACKUP, REPORT

WRITERS = 8


def create(database: Database, name: str = "") -> Backup:
    return database.backups.create(BackupRequest({"type": "all"}, name), str(uuid.uuid4()), "c")


def _named(database: Database, name: str, number: int) -> Backup:
    return create(database, name)


def _job(database: Database, kind: str, subject: Subject, number: int) -> Job:
    if kind == JobKind.DELETION:
        return database.backups.request_deletion(subject.id)
    return database.jobs.create(kind, subject, "c", {})


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Call ``work`` with 0, 1, … by threads that begin together; return results and errors."""
    barrier = threading.Barrier(WRITERS)

    def one(number: int) -> Any:
        barrier.wait(30)
        try:
            return work(number)
        except BackupError as error:
            return error

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(one, range(WRITERS)))


def winners(outcomes: list[Any]) -> list[Any]:
    """Return the results; everybody else must have met a Conflict."""
    won = [outcome for outcome in outcomes if not isinstance(outcome, BackupError)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, BackupError)]
    assert {type(error) for error in lost} <= {Conflict}, lost
    return won


def test_no_update_is_lost(database: Database) -> None:
    backup = create(database)
    job_id = job_of(database, backup.id).id
    fields = ["phase", "manifest_sha256", "skew_ms", "files", "bytes", "bytes_uploaded"]

    def work(number: int) -> None:
        for _ in range(5):
            database.jobs.next_round(job_id)
            if number < len(fields):
                value = str(number) if number < 2 else number
                database.backups.update(backup.id, **{fields[number]: value})

    assert at_once(work) == [None] * WRITERS
    assert database.jobs.get(job_id).round == 1 + 5 * WRITERS
    kept = database.backups.get(backup.id)
    assert [getattr(kept, field) for field in fields] == ["0", "1", 2, 3, 4, 5]


def test_name_is_given_once(database: Database) -> None:
    for round_ in range(3):
        name = f"nightly-{round_}"
        won = winners(at_once(partial(_named, database, name)))
        assert [b.id for b in database.backups.list() if b.name == name] == [won[0].id]


def test_a_backup_is_restored_or_deleted_but_never_both(database: Database) -> None:
    for _ in range(5):
        backup = create(database)
        database.jobs.finish(job_of(database, backup.id).id, JobStatus.DONE)
        database.backups.set_status(backup.id, BackupStatus.CREATED)

        def work(number: int, backup_id: str = backup.id) -> str:
            if number % 2:
                return database.backups.request_deletion(backup_id).kind
            restore_id = str(uuid.uuid4())
            database.restores.create(RestoreRequest(backup_id), restore_id, "c", "c")
            return "restore"

        won = winners(at_once(work))
        assert won in (["restore"] * (WRITERS // 2), ["deletion"])


def test_one_job_is_made(database: Database) -> None:
    for kind in (JobKind.VERIFICATION, JobKind.DELETION):
        backup = create(database)
        database.jobs.finish(job_of(database, backup.id).id, JobStatus.DONE)
        database.backups.set_status(backup.id, BackupStatus.CREATED)
        outcomes = at_once(partial(_job, database, kind, Subject.backup(backup.id)))
        (job,) = winners(outcomes)
        assert database.jobs.unfinished() == (job,)
        database.jobs.finish(job.id, JobStatus.DONE)


def test_one_job_is_made_about_a_subject_without_a_row(database: Database) -> None:
    outcomes = at_once(partial(_job, database, "collection", Subject.cluster("Größe")))
    (job,) = winners(outcomes)
    assert database.jobs.unfinished() == (job,)


def test_one_end_is_recorded(database: Database) -> None:
    backup = create(database)
    ends = [BackupStatus.CREATED, BackupStatus.CANCELLED, BackupStatus.CREATE_FAILED]
    outcomes = at_once(lambda n: database.backups.set_status(backup.id, ends[n % 3]))
    assert {won.status for won in winners(outcomes)} == {database.backups.get(backup.id).status}


def test_new_rows_of_the_same_key(database: Database) -> None:
    backup = create(database)
    job_id = job_of(database, backup.id).id

    def work(number: int) -> str:
        database.nodes.report(replace(REPORT, worker_id="same", problem=str(number)))
        database.nodes.report(replace(REPORT, worker_id=f"own-{number}"))
        database.nodes.conductor_seen("same")
        progress = Progress(files_done=number)
        database.backups.put_node_backup(
            replace(NODE_BACKUP, backup_id=backup.id, host_id="same", progress=progress)
        )
        database.jobs.save_step(job_id, 1, "census", {"by": number})
        return str(database.jobs.step_results(job_id, 1)["census"]["by"])

    outcomes = at_once(work)
    assert len(set(outcomes)) == 1, outcomes  # all see the step that was stored first
    assert len(database.nodes.list(live_within=60)) == WRITERS + 1
    assert database.nodes.conductors(60) == ("same",)
    assert len(database.backups.node_backups(backup.id)) == 1


def deadlock(database: Database, transactions: Transactions) -> int:
    """Let two transactions want what the other holds; return how many were begun."""
    one, other = create(database), create(database)
    calls, both = [], threading.Barrier(2)

    def work(session: Session, first: str, second: str) -> None:
        calls.append(first)
        BACKUPS.get(session, first, lock=True).bytes += 1
        session.flush()
        if len(calls) <= 2 and session.get_bind().dialect.name != "sqlite":
            both.wait(30)  # each holds what the other wants; SQLite lets in one at a time
        BACKUPS.get(session, second, lock=True).bytes += 1

    with ThreadPoolExecutor(2) as pool:
        pairs = [(one.id, other.id), (other.id, one.id)]
        futures = [pool.submit(transactions.run, lambda s, p=pair: work(s, *p)) for pair in pairs]
        for future in futures:
            future.result(60)
    assert [database.backups.get(b.id).bytes for b in (one, other)] == [2, 2]
    transactions.engine.dispose()
    return len(calls)


def test_deadlock_is_tried_again(database: Database, database_url: str) -> None:
    begun = deadlock(database, Transactions(make_engine(database_url)))
    assert begun == (2 if database_url.startswith("sqlite") else 3)


def test_mariadb_by_its_own_name(mariadb: MariaDB) -> None:
    url = mariadb.create_database().replace("mysql+", "mariadb+")
    database = connect(url)
    database.sync()
    assert create(database, "🐘") == database.backups.find("🐘")
    assert deadlock(database, Transactions(make_engine(url))) == 3
    database.close()
