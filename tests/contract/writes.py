# SPDX-License-Identifier: Apache-2.0
"""What a job writes, and all methods of the stores by whether they write."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import text

from magnetodb_backup.database import Database
from magnetodb_backup.database.findings import FoundBy
from magnetodb_backup.domain.backup.findings import Damage, DamagedObject
from magnetodb_backup.domain.backup.growth import TableBytes
from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung
from magnetodb_backup.domain.backup.records import Backup, BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.domain.restore.records import NodeRestore, RestoreRequest, RestoreStatus
from magnetodb_backup.domain.retention.policy import Policy
from tests.lab.catalogue import job_of, recorded
from tests.unit.domain.samples import NODE_BACKUP, TIME

_CENTURY = timedelta(days=36525)


class Owned:
    """A backup and a restore of another one, with everything that a job writes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.backup = self._backup()
        self.job = job_of(database, self.backup.id)
        source = self._backup()
        database.jobs.finish(job_of(database, source.id).id, JobStatus.DONE)
        self.source = database.backups.set_status(source.id, BackupStatus.CREATED)
        self.expired = str(uuid.uuid4())
        expired = replace(self.source, id=self.expired, status=BackupStatus.DELETE_FAILED)
        database.backups.learn(expired, [])
        request = RestoreRequest(source.id)
        self.restore = database.restores.create(request, str(uuid.uuid4()), "c", "c")
        self.due = recorded(database, "c", BackupStatus.DELETED)
        self.undeletable = recorded(database, "c", BackupStatus.DELETED)
        database.deletions.record(self.undeletable.id, TIME, undelete_until=TIME + _CENTURY)

    def _backup(self) -> Backup:
        request = BackupRequest({"type": "all"})
        return self.database.backups.create(request, str(uuid.uuid4()), "c")

    def everything(self) -> list[tuple[Any, ...]]:
        """Return all rows that a job writes."""
        names = "backups node_backups jobs job_steps restores node_restores "
        names += (
            "damaged_packs affected_backups backup_tables findings backup_proofs retention_policies"
        )
        with self.database._engine.begin() as connection:
            return [
                (table, *row)
                for table in names.split()
                for row in connection.execute(text(f"SELECT * FROM {table}"))
            ]


Write = Callable[[Database, Owned], object]
WRITES: dict[str, Write] = {
    "jobs.show_waiting": lambda d, o: d.jobs.show_waiting(o.job.id, "waits"),
    "jobs.finish": lambda d, o: d.jobs.finish(o.job.id, JobStatus.DONE, result={"a": 1}),
    "jobs.request_cancel": lambda d, o: d.jobs.request_cancel(o.job.id),
    "jobs.next_round": lambda d, o: d.jobs.next_round(o.job.id),
    "jobs.save_step": lambda d, o: d.jobs.save_step(o.job.id, 1, "upload", {"a": 1}),
    "jobs.show_progress": lambda d, o: d.jobs.show_progress(o.job.id, {"step": "parse"}),
    "jobs.create": lambda d, o: d.jobs.create(
        JobKind.VERIFICATION, Subject.backup(o.source.id), "c", {}
    ),
    "backups.create": lambda d, o: d.backups.create(
        BackupRequest({"type": "all"}), str(uuid.uuid4()), "c"
    ),
    "backups.learn": lambda d, o: d.backups.learn(replace(o.backup, id=str(uuid.uuid4())), []),
    "backups.learn_all": lambda d, o: d.backups.learn_all(
        [(replace(o.backup, id=str(uuid.uuid4())), [])]
    ),
    "backups.set_status": lambda d, o: d.backups.set_status(o.backup.id, BackupStatus.CREATED),
    "backups.update": lambda d, o: d.backups.update(o.backup.id, phase="commit"),
    "backups.put_node_backup": lambda d, o: d.backups.put_node_backup(
        replace(NODE_BACKUP, backup_id=o.backup.id)
    ),
    "restores.create": lambda d, o: d.restores.create(
        RestoreRequest(o.source.id), str(uuid.uuid4()), "c", "c"
    ),
    "restores.set_status": lambda d, o: d.restores.set_status(o.restore.id, RestoreStatus.RESTORED),
    "restores.update": lambda d, o: d.restores.update(o.restore.id, phase="import"),
    "restores.put_node_restore": lambda d, o: d.restores.put_node_restore(
        NodeRestore(o.restore.id, "host", "127.0.0.1", "dc", "rack")
    ),
    "backups.change_notes": lambda d, o: d.backups.change_notes(
        o.backup.id, lambda notes: (*notes, "a note")
    ),
    "damaged_packs.record": lambda d, o: d.damaged_packs.record(
        FoundBy("verification", o.backup.id, "c"),
        [Damage(DamagedObject.PACK, "host", "pack", "corrupt", "")],
        read_data=True,
    ),
    "damaged_packs.need": lambda d, o: d.damaged_packs.need("c", "host", o.source.id, ["pack"]),
    "damaged_packs.forget": lambda d, o: d.damaged_packs.forget(
        "host", {"pack": ["verification"]}, o.backup.id
    ),
    "growth.record": lambda d, o: d.growth.record(o.backup.id, [TableBytes("ks", "t", 2, 1)]),
    "proofs.put": lambda d, o: d.proofs.put(
        o.backup.id,
        [Proof("ks", "t", Rung.EXISTS, Outcome.PROVED, datetime.now(timezone.utc), "job")],
    ),
    "deletions.record": lambda d, o: d.deletions.record(o.due.id, TIME, undelete_until=TIME),
    "deletions.begin_purge": lambda d, o: d.deletions.begin_purge(o.due.id),
    "deletions.purged": lambda d, o: d.deletions.purged(o.due.id),
    "deletions.request_undeletion": lambda d, o: d.deletions.request_undeletion(o.undeletable.id),
    "deletions.undone": lambda d, o: d.deletions.undone(
        o.undeletable.id, BackupStatus.CREATED, TIME
    ),
    "retention.put": lambda d, o: d.retention.put("c", Policy(redundancy=1)),
    "retention.mark": lambda d, o: d.retention.mark(o.source.id, "c", "audit"),
    "backups.expire": lambda d, o: d.backups.expire("c", [o.expired]),
    "retention.remove": lambda d, o: d.retention.remove("c"),
    "backups.request_deletion": lambda d, o: d.backups.request_deletion(o.backup.id),
}
READS = {
    *(
        "jobs.get",
        "jobs.current",
        "jobs.latest",
        "jobs.newest_parameters",
        "jobs.unfinished",
        "jobs.step_results",
    ),
    *("backups.get", "backups.find", "backups.list", "backups.node_backups", "backups.live_ids"),
    "backups.manifests_of",
    *("backups.outlines", "backups.clusters"),
    *("backups.newest_committed", "backups.noted", "damaged_packs.of", "proofs.of"),
    *(
        "damaged_packs.found_in",
        "damaged_packs.found_by",
        "findings.list",
        "findings.of_backup",
        "growth.growth",
        "clusters.retired",
    ),
    *("retention.get", "retention.list", "retention.plan", "retention.clusters"),
    *("retention.covered", "retention.schedules"),
    *("restores.get", "restores.find", "restores.list", "restores.node_restores"),
    *("restores.live_ids", "jobs.step_results", "deletions.now", "deletions.due"),
}
BEFORE_A_FENCE = {"jobs.claim"}  # by which a conductor gets its fence
