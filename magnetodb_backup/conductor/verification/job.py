# SPDX-License-Identifier: Apache-2.0
"""The steps of a verification, one for each rung that is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from typing import Any

from magnetodb_backup.conductor.any_worker import Choice
from magnetodb_backup.conductor.backup.affected import note_affected
from magnetodb_backup.conductor.backup.damaged_packs import record_damage
from magnetodb_backup.conductor.backup.lost_packs import withdraw_proved
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.job import Results, Step, StepRunner, typed_step
from magnetodb_backup.conductor.verification.parsing import Parsing
from magnetodb_backup.conductor.verification.progress import ProgressRecord
from magnetodb_backup.conductor.verification.reading import Reading
from magnetodb_backup.conductor.verification.report import whole_report
from magnetodb_backup.domain.as_of import as_of_in
from magnetodb_backup.domain.backup.manifest import NodeShare
from magnetodb_backup.domain.backup.proofs import Rung, proofs_of, proofs_of_sample, rungs_of
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.sample import Sample, sample_of
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.domain.tables import Selection, TableName
from magnetodb_backup.repository.findings import VerificationReport
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.verify import check_manifests, verify_backup
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.verification import ApplySchema, ApplySchemaAsOf
from magnetodb_backup.tasks.verification_steps import (
    BackupsAffected,
    SchemaTried,
    SSTablesParsed,
    StoreChecked,
)


class VerificationJob:
    """One verification; each step stores the proofs of its rung before it ends.

    That of an earlier state of the store records nothing but its report.
    """

    def __init__(self, job: Job, backup: Backup, context: JobContext) -> None:
        self._job, self._backup = job, backup
        self._as_of = as_of_in(job.parameters)
        self._context = context.as_of(self._as_of)
        self._progress = ProgressRecord(context.database, job.id)
        self._rungs = rungs_of(
            job.parameters.get("rungs", ()), read_data=bool(job.parameters.get("read_data"))
        )
        self._sample = sample_of(job.parameters) if Rung.READ_DATA in self._rungs else None

    def run(self) -> Mapping[str, Any]:
        """Take the steps that have no result yet; return the report of all."""
        runner = StepRunner(
            self._context.database,
            raise_if_cancelled=self._context.raise_if_cancelled,
            entered=self._progress.enter,
            rounds=1,
        )
        results = runner.run(self._job, lambda _: self._steps(), lambda _: None)
        return encode(whole_report(self._tried(), results, self._as_of))

    def _tried(self) -> tuple[Rung, ...]:
        """Return the rungs of the report: what was sampled was not all read."""
        if self._sample is None:
            return self._rungs
        return tuple(Rung.SAMPLE if rung is Rung.READ_DATA else rung for rung in self._rungs)

    def _steps(self) -> list[Step]:
        steps = [
            typed_step(StoreChecked, self._check_store),
            typed_step(BackupsAffected, self._find_affected),
        ]
        if Rung.SCHEMA in self._rungs:
            steps.append(typed_step(SchemaTried, self._try_schema))
        if Rung.PARSE in self._rungs:
            steps.append(typed_step(SSTablesParsed, self._parse))
        return steps

    def _check_store(self, results: Results) -> StoreChecked:
        checked = self._read_data() if Rung.READ_DATA in self._rungs else self._look_for_packs()
        if self._as_of is None:
            self._record(checked.report)
        return checked

    def _record(self, report: VerificationReport) -> None:
        """Record what is proved, and what is damaged, of the present store."""
        context, backup = self._context, self._backup
        record_damage(context.database, self._job, backup, report)
        withdraw_proved(context.database, backup, report)
        failed = report.failed_tables()
        if report.every_table:
            failed = dict.fromkeys(self._tables(), report.every_table) | failed
        self._keep(Rung.EXISTS, failed)
        if report.sample is not None:
            self._keep_sample(report.sample, failed)
        elif report.read_data:
            self._keep(Rung.READ_DATA, failed)

    def _find_affected(self, results: Results) -> BackupsAffected:
        """Find the other backups that need what is damaged; most verifications find no damage."""
        damaged = self._context.database.damaged_packs.found_by(self._job.id)
        return BackupsAffected(note_affected(self._context, self._backup.cluster, damaged))

    def _look_for_packs(self) -> StoreChecked:
        context, backup = self._context, self._backup
        report = verify_backup(
            context.repository(backup.cluster),
            lambda host_id: NodeRepository(
                context.storage(), context.settings.prefix, backup.cluster, host_id
            ),
            backup.id,
            manifest_sha256=backup.manifest_sha256,
            read_data=False,
            progress=lambda files, size: self._progress.node(
                "", {"files_done": files, "bytes_done": size}
            ),
            raise_if_cancelled=context.raise_if_cancelled,
        )
        return StoreChecked(report)

    def _read_data(self) -> StoreChecked:
        context, backup = self._context, self._backup
        repository = context.repository(backup.cluster)
        findings, shares = check_manifests(repository, backup.id, backup.manifest_sha256)
        reading = Reading(self._job, backup, context, self._progress, self._sample, self._as_of)
        found = reading.run(shares)
        for node in found.values():
            findings.add_node(node.checked)
        report = findings.report(backup.id, read_data=True, sample=self._sample)
        return StoreChecked(report, {host_id: node.by for host_id, node in found.items()})

    def _try_schema(self, results: Results) -> SchemaTried:
        backup, hosts = self._backup, []

        def task_of(host_id: str) -> ApplySchema:
            hosts.append(host_id)
            arguments = {"host_id": host_id, "cluster": backup.cluster, "backup_id": backup.id}
            if self._as_of is not None:
                return ApplySchemaAsOf(**arguments, as_of=self._as_of)
            return ApplySchema(**arguments)

        worker = self._context.any_worker(Choice(backup.cluster, try_others=True))
        applied = worker.run(f"{self._job.id}:schema", task_of)
        self._keep(Rung.SCHEMA, applied.failures.by_table())
        return SchemaTried(hosts[-1], applied)

    def _parse(self, results: Results) -> SSTablesParsed:
        shares = self._shares()
        parsing = Parsing(self._job, self._backup, self._context, self._progress, self._as_of)
        parsed = parsing.run(shares)
        failed = {TableName(keyspace, table): text for keyspace, table, text in parsed.failed}
        unread = any(node.error for node in parsed.nodes.values())
        # A node backup that was not read may have SSTables of each table.
        self._keep(Rung.PARSE, failed, without=self._tables() if unread else ())
        return parsed

    def _shares(self) -> tuple[NodeShare, ...]:
        repository = self._context.repository(self._backup.cluster)
        return repository.read_backup(self._backup.id).nodes

    def _keep(
        self, rung: Rung, failed: Mapping[TableName, str], *, without: Collection[TableName] = ()
    ) -> None:
        if self._as_of is not None:
            return
        at = datetime.now(timezone.utc)
        proofs = proofs_of(
            rung, self._tables(), failed, at=at, job_id=self._job.id, without=without
        )
        # What has read every byte says more than any sample.
        instead_of = Rung.SAMPLE if rung is Rung.READ_DATA else None
        self._context.database.proofs.put(self._backup.id, proofs, instead_of=instead_of)

    def _keep_sample(self, sample: Sample, failed: Mapping[TableName, str]) -> None:
        database, backup_id = self._context.database, self._backup.id
        proofs = proofs_of_sample(
            sample.label(),
            self._tables(),
            failed,
            database.proofs.of(backup_id),
            at=datetime.now(timezone.utc),
            job_id=self._job.id,
            still_damaged=database.damaged_packs.found_in(backup_id),
        )
        database.proofs.put(backup_id, proofs)

    def _tables(self) -> tuple[TableName, ...]:
        if self._backup.selection is None:
            return ()
        return tuple(t.name for t in Selection.from_json(self._backup.selection).tables)
