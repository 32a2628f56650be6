# SPDX-License-Identifier: Apache-2.0
"""The backup job: its steps from resolve to commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from magnetodb_backup.conductor.backup.affected import note_affected
from magnetodb_backup.conductor.backup.agreement import await_agreement
from magnetodb_backup.conductor.backup.census import take_backup_census
from magnetodb_backup.conductor.backup.commit import commit_backup, plan_commit
from magnetodb_backup.conductor.backup.damaged_packs import bounded, forget_replaced
from magnetodb_backup.conductor.backup.fingerprints import first_read, second_read
from magnetodb_backup.conductor.backup.lost_packs import note_lost_packs
from magnetodb_backup.conductor.backup.node_backups import NodeBackups, bounded_uploads
from magnetodb_backup.conductor.backup.nodes import BackupNodes, hosts_in, selected
from magnetodb_backup.conductor.backup.one_ring import (
    require_one_ring,
    require_same_schema,
    require_same_tables,
)
from magnetodb_backup.conductor.backup.table_bytes import record_tables
from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.conductor.fanout import Fanout, Outcome
from magnetodb_backup.conductor.job import Results, StartAgain, Step, typed_step
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.errors import (
    Cancelled,
    CommandFailed,
    DataDirectoryProblem,
    RingDiffers,
    SnapshotLeft,
)
from magnetodb_backup.tasks import backup_steps
from magnetodb_backup.tasks.backup import (
    Prepare,
    ReadSchema,
    Release,
    Resolve,
    SchemaSeen,
    TakeSnapshot,
    Upload,
)
from magnetodb_backup.tasks.cluster import Member, PresentMember, SelectedTables
from magnetodb_backup.tasks.codec import encode

LOG = logging.getLogger(__name__)
_EARLIER = 10  # backups that a worker whose index is lost may learn from


class BackupJob:
    """The steps of one backup."""

    def __init__(self, job: Job, backup: Backup, context: JobContext) -> None:
        self._job, self._backup, self._context = job, backup, context
        self._records = NodeBackups(context.database, backup.id)

    def steps(self, round_: int) -> Sequence[Step]:
        """Return the steps of a round, in order."""
        return _Round(self._job, self._backup, self._context, self._records, round_).steps()

    def drop_snapshots(self, round_: int, fanout: Fanout | None = None) -> list[Outcome]:
        """Remove the round's snapshots from every node that may have one."""
        nodes = BackupNodes(self._job, self._backup, self._context, self._records, round_)
        stored = Results(self._context.database.jobs.step_results(self._job.id, round_))
        census = stored.find(backup_steps.CensusTaken)
        if census is None:
            return []
        return nodes.outcomes(
            stored,
            "undo",
            lambda host_id: Release(**nodes.fields(host_id)),
            {present.member.host_id for present in census.present},
            fanout=fanout,
        )

    def await_agreement(self, round_: int) -> None:
        """Wait after a round until its nodes see one ring and one schema, or worker_timeout."""
        seconds = self._context.settings.worker_timeout
        bounded_context = replace(
            self._context, settings=replace(self._context.settings, outage_deadline=seconds)
        )
        nodes = BackupNodes(self._job, self._backup, bounded_context, self._records, round_)
        stored = Results(self._context.database.jobs.step_results(self._job.id, round_))
        if stored.find(backup_steps.CensusTaken) is not None:
            await_agreement(nodes, stored, self._context, time.monotonic() + seconds)


class _Round:
    """One round of a backup's steps; a change of the schema or the ring begins another."""

    def __init__(
        self, job: Job, backup: Backup, context: JobContext, records: NodeBackups, round_: int
    ) -> None:
        self._backup, self._context, self._records = backup, context, records
        self._nodes = BackupNodes(job, backup, context, records, round_)

    def steps(self) -> Sequence[Step]:
        before = typed_step(backup_steps.FingerprintsBeforeDone, self._fingerprints_before)
        after = typed_step(backup_steps.FingerprintsAfterDone, self._fingerprints_after)
        wanted = self._backup.figures
        return [
            typed_step(backup_steps.ResolveDone, self._resolve),
            typed_step(backup_steps.CensusTaken, self._census),
            *([before] if wanted else []),
            typed_step(backup_steps.PrepareDone, self._prepare),
            typed_step(backup_steps.SchemaBefore, self._schema_before),
            typed_step(backup_steps.SnapshotDone, self._snapshot),
            typed_step(backup_steps.SchemaAfter, self._schema_after),
            *([after] if wanted else []),
            typed_step(backup_steps.UploadDone, self._upload),
            typed_step(backup_steps.ReleaseDone, self._release),
            typed_step(backup_steps.CommitPlan, self._plan_commit, phase=Phase.COMMIT.value),
            typed_step(backup_steps.CommitDone, self._commit),
        ]

    # The steps, in their order.

    def _resolve(self, results: Results) -> backup_steps.ResolveDone:
        resolved = self._nodes.on_any(Phase.RESOLVE.value, self._resolve_task)
        self._context.database.backups.update(self._backup.id, selection=encode(resolved.selection))
        return backup_steps.ResolveDone(resolved.selection)

    def _census(self, results: Results) -> backup_steps.CensusTaken:
        resolved = results.of(backup_steps.ResolveDone).selection
        taken = take_backup_census(self._nodes, self._backup, resolved.selection())
        self._records.record(taken.census)
        if taken.excluded:
            kept = encode(resolved.without(taken.excluded))
            self._context.database.backups.update(self._backup.id, selection=kept)
        census, seen = taken.census, taken.seen
        return backup_steps.CensusTaken(
            ring=seen.ring,
            present=tuple(PresentMember(Member.of(m), worker) for m, worker in census.present),
            missing={m.host_id: f"{m.address}: {reason}" for m, reason in census.missing},
            partitioner=seen.partitioner,
            excluded=taken.excluded,
        )

    def _fingerprints_before(self, results: Results) -> backup_steps.FingerprintsBeforeDone:
        return first_read(self._nodes, results)

    def _prepare(self, results: Results) -> backup_steps.PrepareDone:
        tables = selected(results).tables
        with self._tables_unchanged(results, Phase.PREPARE):
            done = self._nodes.on_all(
                results,
                Phase.PREPARE,
                lambda host_id: Prepare(**self._nodes.fields(host_id), tables=tables),
            )
        rings = {host_id: prepared.ring_sha256 for host_id, prepared in done.results.items()}
        silent = require_one_ring(self._nodes, results, Phase.PREPARE, rings)
        left = {h: prepared for h, prepared in done.results.items() if h not in silent}
        return backup_steps.PrepareDone(left, {**done.failed, **silent})

    def _schema_before(self, results: Results) -> backup_steps.SchemaBefore:
        seen = self._read_schema(results, Phase.SCHEMA_BEFORE, store=True)
        require_same_tables(results, seen)
        return backup_steps.SchemaBefore(
            seen.sha256,
            seen.version,
            seen.ring,
            seen.schema,
            seen.selected_sha256,
            seen.release,
            own_version=seen.own_version,
        )

    def _snapshot(self, results: Results) -> backup_steps.SnapshotDone:
        selection = selected(results)
        tables, keyspaces = selection.tables, _names(selection)

        def task(host_id: str) -> TakeSnapshot:
            return TakeSnapshot(
                **self._nodes.fields(host_id),
                tables=tables,
                keyspaces=keyspaces,
                scope=self._backup.scope,
            )

        with self._tables_unchanged(results, Phase.SNAPSHOT):
            done = self._nodes.on_all(results, Phase.SNAPSHOT, task)
        rings = {host_id: snapshot.ring_sha256 for host_id, snapshot in done.results.items()}
        silent = require_one_ring(self._nodes, results, Phase.SNAPSHOT, rings)
        left = {h: snapshot for h, snapshot in done.results.items() if h not in silent}
        return backup_steps.SnapshotDone(left, {**done.failed, **silent})

    def _schema_after(self, results: Results) -> backup_steps.SchemaAfter:
        seen = self._read_schema(results, Phase.SCHEMA_AFTER, store=False)
        require_same_schema(results, seen)
        return backup_steps.SchemaAfter(
            seen.sha256,
            seen.version,
            seen.ring,
            None,
            seen.selected_sha256,
            seen.release,
            own_version=seen.own_version,
        )

    def _fingerprints_after(self, results: Results) -> backup_steps.FingerprintsAfterDone:
        return second_read(self._nodes, results)

    def _upload(self, results: Results) -> backup_steps.UploadDone:
        tables = selected(results).tables
        snapshots = results.of(backup_steps.SnapshotDone).results
        database, cluster = self._context.database, self._backup.cluster
        damaged, uncounted = bounded(database.damaged_packs.of(cluster))
        earlier = database.backups.newest_committed(cluster, _EARLIER)

        def task(host_id: str) -> Upload:
            snapshot, packs = snapshots[host_id], damaged.get(host_id, {})
            return Upload(
                **self._nodes.fields(host_id),
                tables=tables,
                on_corrupt=self._backup.on_corrupt,
                snapshot_started_at=snapshot.started_at,
                snapshot_finished_at=snapshot.finished_at,
                snapshot_files=snapshot.files,
                snapshot_bytes=snapshot.bytes,
                distrusted={pack: tuple(found) for pack, found in packs.items()},
                distrust_all=host_id in uncounted,
                earlier=earlier,
            )

        done = self._nodes.on_all(results, Phase.UPLOAD, task)
        for host_id, uploaded in done.results.items():
            self._records.finish(host_id, uploaded, snapshots[host_id])
        forget_replaced(database, self._backup, done.results)
        left = {h: p for h, p in database.damaged_packs.of(cluster).items() if h in done.results}
        note_affected(self._context, cluster, left, only=self._backup.id)
        note_lost_packs(database, self._backup, done.results)
        record_tables(database, self._backup.id, done.results)
        return backup_steps.UploadDone(bounded_uploads(done.results), done.failed)

    def _release(self, results: Results) -> backup_steps.ReleaseDone:
        """Remove what is left of the snapshots: everything is stored, so nothing fails here.

        A node that cannot do it now does it when its worker reports again.
        """
        outcomes = self._nodes.outcomes(
            results,
            Phase.RELEASE.value,
            lambda host_id: Release(**self._nodes.fields(host_id)),
            hosts_in(results),
        )
        for outcome in outcomes:
            if isinstance(outcome.error, Cancelled):
                raise outcome.error
            if outcome.error is not None:
                LOG.warning("a snapshot is left: %s", outcome.error)
        errors = {o.call.host_id: o.error for o in outcomes if o.error is not None}
        return backup_steps.ReleaseDone(
            {host_id: str(error) for host_id, error in errors.items()},
            tuple(str(error) for error in errors.values() if isinstance(error, SnapshotLeft)),
        )

    def _plan_commit(self, results: Results) -> backup_steps.CommitPlan:
        return plan_commit(self._context.repository(self._backup.cluster), self._backup, results)

    def _commit(self, results: Results) -> backup_steps.CommitDone:
        return commit_backup(
            self._context.database,
            self._context.repository(self._backup.cluster),
            self._backup,
            results,
            self._context.raise_if_cancelled,
        )

    # Parts.

    def _resolve_task(self, host_id: str) -> Resolve:
        return Resolve(**self._nodes.fields(host_id), scope=self._backup.scope)

    def _read_schema(self, results: Results, phase: Phase, *, store: bool) -> SchemaSeen:
        """Read schema and ring on one node.

        :raises StartAgain: if the ring is not that of the census.
        """
        ring = results.of(backup_steps.CensusTaken).ring
        # What is known of the schema of nodes that are out may be as old as their absence.
        absent = tuple(sorted({m.host_id for m in ring} - hosts_in(results)))
        keyspaces = _names(selected(results))
        # Workers of older releases report no digests with their snapshots.
        prepared = results.of(backup_steps.PrepareDone).results.values()

        def task(host_id: str) -> ReadSchema:
            return ReadSchema(
                **self._nodes.fields(host_id),
                store=store,
                absent=absent,
                any_version=all(each.ring_sha256 for each in prepared),
                keyspaces=keyspaces,
                scope=self._backup.scope,
            )

        try:
            seen = self._nodes.on_any(phase.value, task)
        except RingDiffers as error:
            raise StartAgain(str(error)) from None
        if seen.ring != tuple(sorted((m.host_id, *m.tokens) for m in ring)):
            raise StartAgain("the ring changed since the census")
        return seen

    @contextmanager
    def _tables_unchanged(self, results: Results, phase: Phase) -> Iterator[None]:
        """Begin another round if a task fails because selected tables or the ring have changed.

        :raises StartAgain: in place of the task's error.
        """
        try:
            yield
        except RingDiffers as error:
            raise StartAgain(str(error)) from None
        except (CommandFailed, DataDirectoryProblem):
            again = self._nodes.on_any(f"{phase.value}_again", self._resolve_task)
            if again.selection != results.of(backup_steps.ResolveDone).selection:
                raise StartAgain("selected tables were created or dropped meanwhile") from None
            raise


def _names(selection: SelectedTables) -> tuple[str, ...]:
    return tuple(keyspace.name for keyspace in selection.keyspaces)
