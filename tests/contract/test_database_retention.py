# SPDX-License-Identifier: Apache-2.0
"""Policies, marks, and deletions that retention refuses, on every database."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.notes import HARMED
from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import RestoreRequest
from magnetodb_backup.domain.retention.candidates import State
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.errors import Conflict, NotFound
from tests.contract.test_database_writers import WRITERS, at_once, winners
from tests.lab.catalogue import MISSING, job_of, recorded
from tests.unit.domain.samples import BACKUP

DAMAGE = Damage(DamagedObject.PACK, "host", "pack", "missing", "")
S = BackupStatus
CLUSTER = "c"
POLICY = Policy(1, 2, 3, 4, 5, 6, floor=2, failed_days=0, time_zone="Europe/Berlin")


def learned(database: Database, days: float = 0, **values: Any) -> str:
    """Record a backup that ended so many days ago; return its ID."""
    end = datetime.now(timezone.utc) - timedelta(days=days)
    fields = {"id": str(uuid.uuid4()), "name": "", "cluster": CLUSTER, "status": S.CREATED}
    times = {"created_at": end - timedelta(minutes=9), "updated_at": end, "finished_at": end}
    backup = replace(BACKUP, **{**fields, **times, **values})
    assert database.backups.learn(backup, [])
    return backup.id


def states(database: Database) -> dict[str, State]:
    decisions = database.retention.plan(CLUSTER).decisions
    return {d.candidate.id: d.candidate.state for d in decisions}


def test_a_policy_is_kept_whole_and_replaced(database: Database) -> None:
    made = database.retention.put("Test Cluster", POLICY)
    assert database.retention.get("Test Cluster") == made
    assert (made.cluster, made.policy) == ("Test Cluster", POLICY)
    changed = database.retention.put("Test Cluster", Policy(daily=7))
    assert (changed.policy, changed.created_at) == (Policy(daily=7), made.created_at)
    assert changed.updated_at > made.updated_at
    other = database.retention.put("test cluster", POLICY)
    assert database.retention.list() == (changed, other)


def test_a_policy_is_removed(database: Database) -> None:
    made = database.retention.put("c", POLICY)
    assert database.retention.remove("c") == made
    for missing in (database.retention.get, database.retention.remove, database.retention.plan):
        with pytest.raises(NotFound, match="cluster 'c' has no retention policy"):
            missing("c")


def test_a_policy_is_given_once_by_many_writers(database: Database) -> None:
    at_once(lambda number: database.retention.put("c", Policy(daily=number + 1)))
    (only,) = database.retention.list()
    assert 1 <= only.policy.daily <= WRITERS


def test_marks(database: Database) -> None:
    backup_id = learned(database)
    assert (BACKUP.kept_reason, BACKUP.kept_at) == ("", None)
    database.retention.mark(backup_id, CLUSTER, "the state before the migration 🐘")
    kept = database.backups.get(backup_id)
    assert kept.kept_reason == "the state before the migration 🐘"
    assert kept.kept_at is not None
    assert abs(kept.kept_at - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert database.backups.list() == (replace(kept, selection=None),)
    database.retention.mark(backup_id, CLUSTER, "")
    after = database.backups.get(backup_id)
    assert (after.kept_reason, after.kept_at) == ("", None)
    with pytest.raises(NotFound, match=MISSING):
        database.retention.mark(MISSING, CLUSTER, "audit")


@pytest.mark.parametrize("status", list(S))
def test_only_what_has_data_can_be_kept(database: Database, status: BackupStatus) -> None:
    backup = recorded(database, CLUSTER, status)
    if status in (S.CREATED, S.PARTIAL):
        database.retention.mark(backup.id, CLUSTER, "audit")
        assert database.backups.get(backup.id).kept_reason == "audit"
        return
    with pytest.raises(Conflict, match=f"is {status.value}; only CREATED and PARTIAL"):
        database.retention.mark(backup.id, CLUSTER, "audit")
    database.retention.mark(backup.id, CLUSTER, "")


def test_the_backups_of_a_plan(database: Database) -> None:
    """Trap 2: what failed, is partial or damaged counts for nothing."""
    database.retention.put(CLUSTER, Policy(redundancy=3))
    learned(database, cluster="other")
    expected = {
        learned(database, status=S.PARTIAL): State.PARTIAL,
        learned(database, status=S.CREATE_FAILED): State.FAILED,
        learned(database, status=S.CANCELLED): State.FAILED,
        learned(database, status=S.DELETE_FAILED): State.DELETION_FAILED,
        learned(database, 1): State.RESTORABLE,
        learned(database, 2, notes=("without the nodes n1",)): State.RESTORABLE,
        learned(database, notes=(f"3 files of node n1 {HARMED}, as found",)): State.DAMAGED,
    }
    packs, proof = learned(database), learned(database)
    database.damaged_packs.record(FoundBy("v", packs, CLUSTER), [DAMAGE], read_data=False)
    shared = learned(database)
    database.damaged_packs.need(CLUSTER, "host", shared, ["pack"])
    objects = {what: learned(database) for what in (DamagedObject.SCHEMA, DamagedObject.FIGURES)}
    for what, id_ in objects.items():
        damage = Damage(what, "", id_, "missing", "")
        database.damaged_packs.record(FoundBy(id_, id_, CLUSTER), [damage], read_data=False)
    for outcome, rung in ((Outcome.PROVED, Rung.EXISTS), (Outcome.FAILED, Rung.PARSE)):
        found = Proof("k", "t", rung, outcome, datetime.now(timezone.utc), "job")
        database.proofs.put(proof, [found])
    for status in (S.CREATING, S.DELETING, S.DELETED):
        recorded(database, CLUSTER, status)
    expected |= {packs: State.DAMAGED, shared: State.DAMAGED, proof: State.DAMAGED}
    expected[objects[DamagedObject.SCHEMA]] = State.DAMAGED
    expected[objects[DamagedObject.FIGURES]] = State.RESTORABLE  # but no restore can be checked
    assert states(database) == expected
    kept = {d.candidate.id for d in database.retention.plan(CLUSTER).decisions if d.kept}
    assert {id_ for id_, state in expected.items() if state is State.RESTORABLE} <= kept
    # Uploaded again, the pack is whole.
    database.damaged_packs.forget("host", {"pack": ["v"]}, "healer")
    healed = states(database)
    assert (healed[packs], healed[shared]) == (State.RESTORABLE, State.RESTORABLE)


def test_the_time_of_a_plan_is_that_of_the_database(database: Database) -> None:
    made = database.retention.put(CLUSTER, Policy(window_days=7))
    plan = database.retention.plan(CLUSTER)
    assert plan.policy == made
    assert abs(plan.now - datetime.now(timezone.utc)) < timedelta(minutes=5)


def test_scopes_are_groups(database: Database) -> None:
    database.retention.put(CLUSTER, Policy(redundancy=1))
    orders = {"type": "tables", "tables": ["shop.orders"]}
    everything, table = learned(database, 9), learned(database, 8, scope=orders)
    one_center = learned(database, 7, data_centers=("dc1",))
    newest = learned(database, 1, scope=orders)
    kept = {d.candidate.id: d.kept for d in database.retention.plan(CLUSTER).decisions}
    assert kept == {everything: True, table: False, one_center: True, newest: True}


def test_a_deletion_that_breaks_the_promise_is_refused(database: Database) -> None:
    database.retention.put(CLUSTER, Policy(redundancy=2))
    old, new, third = learned(database, 2), learned(database, 1), learned(database, 3)
    assert database.backups.request_deletion(third).parameters == {}
    with pytest.raises(Conflict) as refused:
        database.backups.request_deletion(old)
    assert str(refused.value) == (
        f"the deletion of backup {old} loses what retention promises: 1 of 2 restorable backups "
        "of all keyspaces would remain (redundancy). Make another backup first, or allow it by "
        "--allow-loss (REST: allow_loss=true)"
    )
    assert database.backups.get(old).status is S.CREATED
    assert database.jobs.latest(Subject.backup(old), JobKind.DELETION) is None
    job = database.backups.request_deletion(old, allow_loss=True)
    assert job.parameters["allow_loss"] is True
    assert [loss["rule"] for loss in job.parameters["losses"]] == ["redundancy"]
    assert database.backups.get(new).status is S.CREATED


def test_a_backup_to_be_kept_is_not_deleted(database: Database) -> None:
    """It needs no policy."""
    backup_id = learned(database)
    database.retention.mark(backup_id, CLUSTER, "audit 2026")
    with pytest.raises(Conflict, match=r"is to be kept: audit 2026"):
        database.backups.request_deletion(backup_id)
    database.retention.mark(backup_id, CLUSTER, "")
    database.backups.request_deletion(backup_id)


def test_what_does_not_count_can_be_deleted(database: Database) -> None:
    database.retention.put(CLUSTER, Policy(redundancy=5, window_days=30))
    learned(database)
    for status in (S.PARTIAL, S.CREATE_FAILED, S.CANCELLED, S.DELETE_FAILED):
        database.backups.request_deletion(learned(database, status=status))
    database.backups.request_deletion(recorded(database, CLUSTER).id)


def test_only_what_expires_now_is_deleted_for_retention(database: Database) -> None:
    database.retention.put(CLUSTER, Policy(redundancy=1))
    ids = older, old, new = [learned(database, days) for days in (3, 2, 1)]
    expire = database.backups.expire
    assert expire(CLUSTER, [older, new, MISSING]) == {
        new: "redundancy: one of the last 1",
        MISSING: f"there is no backup {MISSING!r}",
    }
    assert [database.backups.get(id_).status for id_ in ids] == [S.DELETING, S.CREATED, S.CREATED]
    job = job_of(database, older, JobKind.DELETION)
    assert job.parameters == {"expired": "no rule of the policy keeps it"}
    # What is being deleted is no refusal, and its deletion is recorded once.
    assert expire(CLUSTER, [older]) == {}
    assert database.jobs.unfinished() == (job,)
    database.damaged_packs.record(FoundBy("v", new, CLUSTER), [DAMAGE], read_data=False)
    assert expire(CLUSTER, [old]) == {old: "redundancy: one of the last 1"}
    database.retention.remove(CLUSTER)
    with pytest.raises(NotFound, match="cluster 'c' has no retention policy"):
        expire(CLUSTER, [old])
    assert {database.backups.get(id_).status for id_ in (old, new)} == {S.CREATED}


def test_deletions_at_once_do_not_break_the_promise_together(database: Database) -> None:
    for remain in (3, 1):
        database.retention.put(CLUSTER, Policy(redundancy=remain))
        present = [b.id for b in database.backups.list(status="CREATED")]
        ids = present + [learned(database, n) for n in range(WRITERS - len(present))]

        def work(number: int, ids: list[str] = ids) -> str:
            return database.backups.request_deletion(ids[number]).backup_id

        won = winners(at_once(work))
        assert len(won) == WRITERS - remain
        assert len(database.backups.list(status="CREATED")) == remain


def test_a_mark_and_a_deletion_at_once(database: Database) -> None:
    for _ in range(3):
        backup_id = learned(database)

        def work(number: int, backup_id: str = backup_id) -> str:
            if number % 2:
                return database.backups.request_deletion(backup_id).kind
            database.retention.mark(backup_id, CLUSTER, "audit")
            return "kept"

        won = set(winners(at_once(work)))
        backup = database.backups.get(backup_id)
        deleted = backup.status is S.DELETING
        assert deleted == ("deletion" in won)
        assert deleted or backup.kept_reason == "audit"


def test_a_deletion_is_checked_after_it_has_waited(database: Database) -> None:
    """What another transaction has left is seen, also by a database that reads snapshots."""
    database.retention.put(CLUSTER, Policy(redundancy=1))
    ids = [learned(database, 1), learned(database, 2)]
    first, results = database.backups.request_deletion, []
    threads = [
        threading.Thread(target=lambda id_=id_: results.append(_outcome(first, id_))) for id_ in ids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["deleted", "refused"]


def _outcome(work: Any, backup_id: str) -> str:
    try:
        work(backup_id)
    except Conflict:
        return "refused"
    return "deleted"


def test_a_backup_that_is_restored_stays(database: Database) -> None:
    database.retention.put(CLUSTER, Policy(redundancy=1))
    older, old, _ = learned(database, 3), learned(database, 2), learned(database, 1)
    database.restores.create(RestoreRequest(old), str(uuid.uuid4()), CLUSTER, CLUSTER)
    refused = database.backups.expire(CLUSTER, [old, older])
    assert set(refused) == {old}
    assert f"backup {old} is read by restore" in refused[old]
    assert database.backups.get(older).status is S.DELETING


def test_an_expiry_and_deletions_at_once(database: Database) -> None:
    """What several jobs and requests record together still leaves what the policy keeps."""
    database.retention.put(CLUSTER, Policy(redundancy=3))
    ids = [learned(database, days) for days in range(WRITERS)]

    def work(number: int) -> str:
        if number % 2:
            return database.backups.request_deletion(ids[number]).backup_id
        return str(database.backups.expire(CLUSTER, ids))

    winners(at_once(work))
    left = [b.id for b in database.backups.list(status="CREATED")]
    assert len(left) == 3


def test_an_expiry_and_a_restore_at_once(database: Database) -> None:
    for _ in range(4):
        database.retention.put(CLUSTER, Policy(redundancy=1))
        old, _new = learned(database, 2), learned(database, 1)

        def work(number: int, old: str = old) -> str:
            if number % 2:
                database.backups.expire(CLUSTER, [old])
                return "expired"
            database.restores.create(RestoreRequest(old), str(uuid.uuid4()), CLUSTER, CLUSTER)
            return "restored"

        restored = "restored" in winners(at_once(work))
        assert database.backups.get(old).status is (S.CREATED if restored else S.DELETING)


def test_a_cluster_has_one_job_of_each_kind(database: Database) -> None:
    subject = Subject.cluster(CLUSTER)
    job = database.jobs.create(JobKind.RETENTION, subject, CLUSTER, {})
    database.jobs.create("greeting", subject, CLUSTER, {})
    with pytest.raises(Conflict, match=f"a retention of cluster {CLUSTER} is PENDING"):
        database.jobs.create(JobKind.RETENTION, subject, CLUSTER, {})
    database.jobs.finish(job.id, JobStatus.DONE)
    database.jobs.create(JobKind.RETENTION, subject, CLUSTER, {})


def test_clusters_with_backups(database: Database) -> None:
    learned(database, cluster="b")
    learned(database, cluster="a")
    recorded(database, "gone", S.DELETED)
    assert database.retention.clusters() == ("a", "b")


def test_the_end_of_a_backup_is_no_later_by_its_deletion(database: Database) -> None:
    """Retention orders backups by their ends."""
    backup: Backup = recorded(database, CLUSTER, S.CREATED)
    assert database.backups.set_status(backup.id, S.DELETING).finished_at == backup.finished_at
    deleted = database.deletions.record(backup.id, datetime.now(timezone.utc), undelete_until=None)
    assert (deleted.status, deleted.finished_at) == (S.DELETED, backup.finished_at)
