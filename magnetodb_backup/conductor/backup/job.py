# SPDX-License-Identifier: Apache-2.0
"""The backup job, from resolve to release. The commit is a module of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from magnetodb_backup.conductor.any_worker import AnyWorker
from magnetodb_backup.conductor.backup.commit import commit_backup, coverage_of
from magnetodb_backup.conductor.backup.damaged_packs import Findings
from magnetodb_backup.conductor.backup.fingerprints import look_again, look_first
from magnetodb_backup.conductor.census import Census, require_all, take_census
from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome, first_error
from magnetodb_backup.conductor.job import Results, StartAgain, Step
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Backup, Job, NodeBackup, Progress
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import Selection
from magnetodb_backup.errors import (
    Cancelled,
    CommandFailed,
    DataDirectoryProblem,
    Unexpected,
)
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.tasks.kinds import TaskKind, snapshot_tag

LOG = logging.getLogger(__name__)
_Work = tuple[Phase, Callable[[int, Results], Mapping[str, Any]]]


@dataclass(frozen=True)
class BackupTools:
    """What a backup job works with. ``worker_timeout`` in seconds."""

    database: Database
    fanout: Fanout
    repository: ClusterRepository
    check: Callable[[], None]
    wait: Callable[[float], None]
    worker_timeout: float
    distrusted: Callable[[str], Findings]


class BackupJob:
    """The steps of one backup."""

    def __init__(self, job: Job, backup: Backup, tools: BackupTools) -> None:
        self._job, self._backup, self._tools = job, backup, tools
        self._written: dict[str, float] = {}
        self._any_worker = AnyWorker(
            tools.database,
            tools.fanout,
            backup.cluster,
            raise_if_cancelled=tools.check,
            wait=tools.wait,
            worker_timeout=tools.worker_timeout,
            try_others=backup.allow_partial,
        )

    def steps(self, round_: int) -> Sequence[Step]:
        """Return the steps of a round, in order."""
        figures: list[_Work] = [
            (Phase.FIGURES_BEFORE, self._figures_before),
            (Phase.FIGURES_AFTER, self._figures_after),
        ]
        if not self._backup.figures:
            figures = []
        work: Sequence[_Work] = (
            (Phase.RESOLVE, self._resolve),
            (Phase.CENSUS, self._census),
            *figures[:1],
            (Phase.PREPARE, self._prepare),
            (Phase.SCHEMA_BEFORE, self._schema_before),
            (Phase.SNAPSHOT, self._snapshot),
            (Phase.SCHEMA_AFTER, self._schema_after),
            *figures[1:],
            (Phase.UPLOAD, self._upload),
            (Phase.RELEASE, self._release),
            (Phase.COMMIT, self._commit),
        )
        return [
            Step(phase.value, lambda results, run=run: run(round_, results))  # type: ignore[misc]
            for phase, run in work
        ]

    def drop_snapshots(self, round_: int, fanout: Fanout | None = None) -> list[Outcome]:
        """Remove the round's snapshots from every node that may have one."""
        stored = Results(self._tools.database.jobs.step_results(self._job.id, round_))
        census = stored.get(Phase.CENSUS.value)
        if census is None:
            return []
        calls = self._calls(TaskKind.RELEASE, round_, stored, step="undo", hosts=None)
        return (fanout or self._tools.fanout).run(calls, stop_at_first_error=False)

    # The steps, in their order.

    def _resolve(self, round_: int, results: Results) -> Mapping[str, Any]:
        outcome = self._ask_any(round_, "resolve", TaskKind.RESOLVE, {"scope": self._backup.scope})
        selection = outcome["selection"]
        self._tools.database.backups.update(self._backup.id, selection=selection)
        return {"selection": selection}

    def _census(self, round_: int, results: Results) -> Mapping[str, Any]:
        selection = Selection.from_json(results["resolve"]["selection"])
        deadline = self._any_worker.deadline()
        while True:
            answer = self._ask_any(round_, "census", TaskKind.DESCRIBE, {})
            ring = [RingMember.from_json(m) for m in answer["ring"]]
            census = take_census(ring, self._any_worker.nodes())
            if not census.missing or time.monotonic() > deadline:
                break
            self._any_worker.wait_a_moment(deadline)
        if not self._backup.allow_partial:
            require_all(census)
        coverage_of(ring, selection, {m.host_id for m, _ in census.present}, require=True)
        self._record_nodes(census)
        return {
            "ring": [m.as_json() for m in ring],
            "present": [{"member": m.as_json(), "worker_id": w} for m, w in census.present],
            "missing": {m.host_id: f"{m.address}: {reason}" for m, reason in census.missing},
        }

    def _figures_before(self, round_: int, results: Results) -> Mapping[str, Any]:
        def calls(own: Mapping[str, Mapping[str, Any]]) -> list[Call]:
            step, hosts = Phase.FIGURES_BEFORE.value, frozenset(own)
            return self._calls(TaskKind.FIGURES_BEFORE, round_, results, step, hosts, own=own)

        return look_first(self._tools.fanout, calls, results)

    def _figures_after(self, round_: int, results: Results) -> Mapping[str, Any]:
        def calls(hosts: frozenset[str]) -> list[Call]:
            step = Phase.FIGURES_AFTER.value
            return self._calls(TaskKind.FIGURES_AFTER, round_, results, step, hosts)

        return look_again(self._tools.fanout, calls, results, _hosts_in(results))

    def _prepare(self, round_: int, results: Results) -> Mapping[str, Any]:
        return self._on_selection(round_, results, Phase.PREPARE, TaskKind.PREPARE)

    def _schema_before(self, round_: int, results: Results) -> Mapping[str, Any]:
        return self._ask_schema(round_, results, "schema-before", store=True)

    def _snapshot(self, round_: int, results: Results) -> Mapping[str, Any]:
        return self._on_selection(round_, results, Phase.SNAPSHOT, TaskKind.SNAPSHOT)

    def _schema_after(self, round_: int, results: Results) -> Mapping[str, Any]:
        before = results[Phase.SCHEMA_BEFORE.value]
        after = self._ask_schema(round_, results, "schema-after", store=False)
        if after["sha256"] != before["sha256"]:
            raise StartAgain("the schema changed while the snapshot was taken")
        return after

    def _ask_schema(
        self, round_: int, results: Results, step: str, *, store: bool
    ) -> Mapping[str, Any]:
        """Ask for schema and ring; start again if this is not the ring of the census."""
        ring = results[Phase.CENSUS.value]["ring"]
        # What is known of the schema of nodes that are out may be as old as their absence.
        absent = sorted({m["host_id"] for m in ring} - _hosts_in(results))
        answer = self._ask_any(round_, step, TaskKind.SCHEMA, {"store": store, "absent": absent})
        if answer["ring"] != sorted([m["host_id"], *m["tokens"]] for m in ring):
            raise StartAgain("the ring changed since the census")
        return answer

    def _upload(self, round_: int, results: Results) -> Mapping[str, Any]:
        snapshots = results[Phase.SNAPSHOT.value]["results"]
        distrusted = self._tools.distrusted(self._backup.cluster)
        own = {
            host_id: {
                "tables": results["resolve"]["selection"]["tables"],
                "on_corrupt": self._backup.on_corrupt,
                "snapshot_started_at": snapshots[host_id]["started_at"],
                "snapshot_finished_at": snapshots[host_id]["finished_at"],
                "snapshot_files": snapshots[host_id]["files"],
                "snapshot_bytes": snapshots[host_id]["bytes"],
                "distrusted": distrusted.get(host_id, {}),
            }
            for host_id in snapshots
        }
        done = self._on_all(round_, results, Phase.UPLOAD, TaskKind.UPLOAD, {}, own=own)
        for host_id, result in done["results"].items():
            self._finish_node(host_id, result, snapshots[host_id])
        return done

    def _release(self, round_: int, results: Results) -> Mapping[str, Any]:
        """Remove what is left of the snapshots: everything is stored, so nothing fails here.

        A node that cannot do it now does it when its worker reports again.
        """
        hosts = _hosts_in(results)
        calls = self._calls(TaskKind.RELEASE, round_, results, Phase.RELEASE.value, hosts)
        outcomes = self._tools.fanout.run(calls, stop_at_first_error=False)
        for outcome in outcomes:
            if isinstance(outcome.error, Cancelled):
                raise outcome.error
            if outcome.error is not None:
                LOG.warning("a snapshot is left: %s", outcome.error)
        return {"left": {o.call.host_id: str(o.error) for o in outcomes if o.error is not None}}

    def _commit(self, round_: int, results: Results) -> Mapping[str, Any]:
        return commit_backup(self._tools.database, self._tools.repository, self._backup, results)

    # How the steps reach workers.

    def _ask_any(
        self, round_: int, step: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return self._any_worker.any(
            f"{self._job.id}:{round_}:{step}",
            kind,
            lambda host_id: self._arguments(host_id, round_, arguments),
        )

    def _on_selection(
        self, round_: int, results: Results, phase: Phase, kind: TaskKind
    ) -> Mapping[str, Any]:
        """Run a task on all selected tables; if it fails because they changed, start again."""
        selection = results["resolve"]["selection"]
        tables = {"tables": selection["tables"]}
        try:
            return self._on_all(round_, results, phase, kind, tables)
        except (CommandFailed, DataDirectoryProblem):
            scope = {"scope": self._backup.scope}
            again = self._ask_any(round_, f"{phase.value}-again", TaskKind.RESOLVE, scope)
            if again["selection"] != selection:
                raise StartAgain("selected tables were created or dropped meanwhile") from None
            raise

    def _on_all(
        self,
        round_: int,
        results: Results,
        phase: Phase,
        kind: TaskKind,
        arguments: Mapping[str, Any],
        own: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Mapping[str, Any]:
        """Run a task on each node that is still in the backup; return results and failures.

        A node that fails leaves the backup where partial backups are allowed; otherwise its
        error ends the job.
        """
        calls = self._calls(kind, round_, results, phase.value, _hosts_in(results), arguments, own)
        outcomes = self._tools.fanout.run(
            calls,
            progress=self._write_progress if kind is TaskKind.UPLOAD else None,
            ended=lambda outcome: self._mark_node(outcome, phase),
            stop_at_first_error=not self._backup.allow_partial,
        )
        failed = {o.call.host_id: str(o.error) for o in outcomes if o.error is not None}
        error = first_error(outcomes)
        if error is not None and (not self._backup.allow_partial or len(failed) == len(calls)):
            raise error
        return {
            "results": {o.call.host_id: dict(o.result) for o in outcomes if o.error is None},
            "failed": failed,
        }

    def _calls(
        self,
        kind: TaskKind,
        round_: int,
        results: Results,
        step: str,
        hosts: frozenset[str] | None,
        arguments: Mapping[str, Any] | None = None,
        own: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[Call]:
        calls = []
        for entry in results[Phase.CENSUS.value]["present"]:
            host_id = entry["member"]["host_id"]
            if hosts is not None and host_id not in hosts:
                continue
            extra = {**(arguments or {}), **(own or {}).get(host_id, {})}
            calls.append(
                Call(
                    host_id=host_id,
                    host=entry["member"]["address"],
                    worker_id=entry["worker_id"],
                    task_id=f"{self._job.id}:{round_}:{step}",
                    kind=kind,
                    arguments=self._arguments(host_id, round_, extra),
                )
            )
        return calls

    def _arguments(self, host_id: str, round_: int, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "host_id": host_id,
            "cluster": self._backup.cluster,
            "backup_id": self._backup.id,
            "tag": snapshot_tag(self._backup.id, round_),
            **extra,
        }

    # What the records show of each node.

    def _record_nodes(self, census: Census) -> None:
        for member, _ in census.present:
            self._put_node(member, phase=Phase.CENSUS.value)
        for member, reason in census.missing:
            self._put_node(member, phase="missing", error=reason)

    def _put_node(self, member: RingMember, *, phase: str, error: str = "") -> None:
        self._tools.database.backups.put_node_backup(
            NodeBackup(
                self._backup.id,
                member.host_id,
                member.address,
                member.dc,
                member.rack,
                phase,
                error,
            )
        )

    def _node_backup(self, host_id: str) -> NodeBackup:
        for node in self._tools.database.backups.node_backups(self._backup.id):
            if node.host_id == host_id:
                return node
        raise Unexpected(f"backup {self._backup.id} has no record of node {host_id}")

    def _mark_node(self, outcome: Outcome, phase: Phase) -> None:
        node = self._node_backup(outcome.call.host_id)
        if outcome.error is not None:
            node = replace(node, phase="failed", error=str(outcome.error))
        else:
            node = replace(node, phase=phase.value, error="")
        if "progress" in outcome.result:
            node = replace(node, progress=Progress(**outcome.result["progress"]))
        self._tools.database.backups.put_node_backup(node)

    def _write_progress(self, call: Call, progress: Mapping[str, int]) -> None:
        now = time.monotonic()
        if now - self._written.get(call.host_id, 0.0) < 1.0:
            return
        self._written[call.host_id] = now
        node = self._node_backup(call.host_id)
        self._tools.database.backups.put_node_backup(
            replace(node, phase=Phase.UPLOAD.value, progress=Progress(**progress))
        )

    def _finish_node(
        self, host_id: str, result: Mapping[str, Any], snapshot: Mapping[str, Any]
    ) -> None:
        self._tools.database.backups.put_node_backup(
            replace(
                self._node_backup(host_id),
                phase="done",
                progress=Progress(**result["progress"]),
                manifest_sha256=result["manifest"]["sha256"],
                manifest_size=result["manifest"]["size"],
                snapshot_started_at=snapshot["started_at"],
                snapshot_finished_at=snapshot["finished_at"],
                corrupt_files=tuple(result["corrupt_files"]),
            )
        )


def _hosts_in(results: Results) -> frozenset[str]:
    """Return the host IDs that no step so far has lost."""
    hosts = {e["member"]["host_id"] for e in results[Phase.CENSUS.value]["present"]}
    for phase in (Phase.PREPARE, Phase.SNAPSHOT, Phase.UPLOAD):
        hosts -= set(results.get(phase.value, {}).get("failed", {}))
    return frozenset(hosts)
