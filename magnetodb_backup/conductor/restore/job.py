# SPDX-License-Identifier: Apache-2.0
"""The restore job, from the selection to the clean-up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magnetodb_backup.conductor.any_worker import AnyWorker
from magnetodb_backup.conductor.census import require_all, take_census
from magnetodb_backup.conductor.fanout import Call, Fanout, Outcome, first_error
from magnetodb_backup.conductor.job import Results, Step
from magnetodb_backup.conductor.node_records import NodeRecords
from magnetodb_backup.conductor.restore.check import add_check, check_tasks, differing, judge
from magnetodb_backup.conductor.restore.preflight import Preflight, make_plan
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Job
from magnetodb_backup.domain.fingerprints import merged_checks
from magnetodb_backup.domain.restore.records import (
    Restore,
    RestorePhase,
)
from magnetodb_backup.domain.restore.routing import Method, find_member
from magnetodb_backup.domain.restore.table_states import table_states
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import names_of, statements_by_table
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import RestoreRefused
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.tasks.kinds import TaskKind

_VIEW_SECONDS = 3600  # for building the materialized views of one restore


@dataclass(frozen=True)
class RestoreTools:
    """What a restore job works with. ``repository`` is the source cluster's."""

    database: Database
    fanout: Fanout
    repository: ClusterRepository
    check: Callable[[], None]
    wait: Callable[[float], None]
    worker_timeout: float


class PlanMade(Exception):
    """A dry run ends here."""


class RestoreJob:
    """The steps of one restore."""

    def __init__(self, job: Job, restore: Restore, tools: RestoreTools) -> None:
        self._job, self._restore, self._tools = job, restore, tools
        self._request = restore.request
        self._records = NodeRecords(tools.database, restore.id)
        self._any_worker = AnyWorker(
            tools.database,
            tools.fanout,
            restore.cluster,
            raise_if_cancelled=tools.check,
            wait=tools.wait,
            worker_timeout=tools.worker_timeout,
            try_others=False,
        )

    def steps(self, round_: int) -> Sequence[Step]:
        """Return the steps, in order; there is one round only."""
        work: Sequence[tuple[RestorePhase, Callable[[Results], Mapping[str, Any]]]] = (
            (RestorePhase.SELECT, self._select),
            (RestorePhase.CENSUS, self._census),
            (RestorePhase.PREFLIGHT, self._preflight),
            (RestorePhase.DOWNLOAD, self._download),
            (RestorePhase.SCHEMA, self._schema),
            (RestorePhase.TRUNCATE, self._truncate),
            (RestorePhase.IMPORT, self._import),
            (RestorePhase.VIEWS, self._views),
            (RestorePhase.REPAIR, self._repair),
            (RestorePhase.CHECK, self._check),
            (RestorePhase.CLEANUP, self._cleanup),
        )
        return [Step(phase.value, run) for phase, run in work]

    def remove_staging(self, fanout: Fanout) -> list[Outcome]:
        """Remove what is staged from every node that may have something."""
        stored = Results(self._tools.database.jobs.step_results(self._job.id, self._job.round))
        if RestorePhase.CENSUS.value not in stored:
            return []
        members = self._members(stored)
        calls = [self._call(m, "undo", TaskKind.RESTORE_CLEANUP, {}) for m in members]
        return fanout.run(calls, stop_at_first_error=False)

    def table_states(self) -> Mapping[str, str]:
        """Return what is known of each target table now, by what steps have done."""
        stored = self._tools.database.jobs.step_results(self._job.id, self._job.round)
        selected = stored.get(RestorePhase.SELECT.value, {"tables": []})
        # Workers call tables as CQL does, which quotes some names.
        names = {_text(t): str(TableName(*t)) for _, t in selected["tables"]}
        exists = stored.get(RestorePhase.PREFLIGHT.value, {}).get("exists", {})
        refused = stored.get(RestorePhase.IMPORT.value, {}).get("refused", {})
        return table_states(
            names,
            phase=self._tools.database.restores.get(self._restore.id).phase,
            done=[p.value for p in RestorePhase if p.value in stored],
            existing=self._request.existing,
            existed={text: exists.get(name, True) for text, name in names.items()},
            refused={text: refused.get(name, ()) for text, name in names.items()},
            differing=differing(stored.get(RestorePhase.CHECK.value, {}).get("checks", {})),
            late=statements_by_table(
                stored.get(RestorePhase.PREFLIGHT.value, {}).get("schema", {}).get("after", ())
            ),
        )

    # The steps, in their order.

    def _select(self, results: Results) -> Mapping[str, Any]:
        return self._read_backup().select()

    def _census(self, results: Results) -> Mapping[str, Any]:
        deadline = self._any_worker.deadline()
        while True:
            answer = self._ask("census", TaskKind.DESCRIBE, {})
            ring = [RingMember.from_json(m) for m in answer["ring"]]
            census = take_census(ring, self._any_worker.nodes())
            if not census.missing or time.monotonic() > deadline:
                break
            self._any_worker.wait_a_moment(deadline)
        require_all(census)
        if self._request.node:
            find_member(ring, self._request.node)
        for member, _ in census.present:
            self._records.enter(member, RestorePhase.CENSUS.value)
        return {
            "ring": [m.as_json() for m in ring],
            "present": [{"member": m.as_json(), "worker_id": w} for m, w in census.present],
        }

    def _preflight(self, results: Results) -> Mapping[str, Any]:
        """Find out everything that can be known beforehand; refuse what cannot go well."""
        selected = results[RestorePhase.SELECT.value]
        compared = self._ask(
            "compare",
            TaskKind.RESTORE_COMPARE,
            {"tables": selected["tables"], "whole_keyspaces": selected["whole_keyspaces"]},
        )
        preflight = self._read_backup()
        ring = [RingMember.from_json(m) for m in results[RestorePhase.CENSUS.value]["ring"]]
        ways = preflight.ways(ring, compared["replication"], selected)
        work = preflight.work(ways, selected)
        nodes = self._on_nodes(
            results,
            "preflight",
            TaskKind.RESTORE_PREFLIGHT,
            {h: {"parts": w} for h, w in work.items()},
        )
        steps = preflight.schema(ways, compared, selected)
        plan = make_plan(
            self._restore, preflight.manifest, ring, selected, compared, ways, steps, nodes
        )
        figures: Mapping[str, Any] = {}
        if self._request.check:
            figures = add_check(plan, self._tools.repository, self._request, selected, compared)
        self._tools.database.restores.update(self._restore.id, plan=plan)
        if self._request.dry_run:
            raise PlanMade
        if plan["problems"]:
            raise RestoreRefused("; ".join(plan["problems"]))
        return {
            "exists": compared["exists"],
            "schema": steps.as_json(),
            "work": work,
            "sizes": {h: {"files": n["files"], "bytes": n["bytes"]} for h, n in nodes.items()},
            "incomplete": list(ways.incomplete),
            "streams": Method.STREAM in ways.methods.values(),
            "figures": figures,
        }

    def _download(self, results: Results) -> Mapping[str, Any]:
        """Everything is staged and verified on all nodes before anything is touched."""
        before = results[RestorePhase.PREFLIGHT.value]
        own = {h: {"parts": parts, **before["sizes"][h]} for h, parts in before["work"].items()}
        self._on_nodes(results, "download", TaskKind.RESTORE_DOWNLOAD, own)
        return {}

    def _schema(self, results: Results) -> Mapping[str, Any]:
        selected = results[RestorePhase.SELECT.value]
        arguments = {
            "statements": results[RestorePhase.PREFLIGHT.value]["schema"]["before"],
            "tables": selected["tables"],
            "whole_keyspaces": selected["whole_keyspaces"],
        }
        return self._on_one(results, "schema", TaskKind.RESTORE_SCHEMA, arguments)

    def _truncate(self, results: Results) -> Mapping[str, Any]:
        """Empty tables where asked; drop what SSTables do not reach, or cannot be sent beside."""
        if self._request.node:
            return {"truncated": []}
        tables = [t for _, t in results[RestorePhase.SELECT.value]["tables"]]
        truncate = self._request.existing.value == "replace"
        indexes = results[RestorePhase.PREFLIGHT.value]["schema"]["drop"]
        return self._on_one(
            results,
            "truncate",
            TaskKind.RESTORE_TRUNCATE,
            {"tables": tables, "truncate": truncate, "indexes": indexes},
        )

    def _import(self, results: Results) -> Mapping[str, Any]:
        work = results[RestorePhase.PREFLIGHT.value]["work"]
        contacts = [m.address for m in self._members(results)]
        refused: dict[str, list[str]] = {}
        for method, kind in (
            (Method.IMPORT, TaskKind.RESTORE_IMPORT),
            (Method.STREAM, TaskKind.RESTORE_STREAM),
        ):
            own = {
                host: {"parts": parts, "contacts": contacts}
                for host, all_parts in work.items()
                if (parts := [p for p in all_parts if p["method"] == method.value])
            }
            outcomes = self._on_nodes(results, method.value, kind, own)
            for host, outcome in outcomes.items():
                for table, reasons in outcome["refused"].items():
                    where = self._address(results, host)
                    refused.setdefault(table, []).extend(f"{r} on {where}" for r in reasons)
        return {"refused": refused}

    def _views(self, results: Results) -> Mapping[str, Any]:
        """Make the indexes and views that had to wait for the rows, and await their building."""
        after = results[RestorePhase.PREFLIGHT.value]["schema"]["after"]
        if self._request.node or not after:
            return {}
        made = self._on_one(results, "make_views", TaskKind.RESTORE_SCHEMA, {"statements": after})
        built = {
            "views": names_of(after, "view"),
            "indexes": names_of(after, "index"),
            "seconds": _VIEW_SECONDS,
        }
        self._on_nodes(
            results,
            "views",
            TaskKind.RESTORE_VIEWS,
            {m.host_id: built for m in self._members(results)},
        )
        return made

    def _repair(self, results: Results) -> Mapping[str, Any]:
        """Repair where a node or a copy was left out, or rows were sent to new owners."""
        before = results[RestorePhase.PREFLIGHT.value]
        tables: dict[str, list[str]] = {}
        selected = results[RestorePhase.SELECT.value]
        for _, (keyspace, table) in (*selected["tables"], *selected["views"]):
            tables.setdefault(keyspace, []).append(table)
        members = self._members(results)
        if self._request.node:
            members = [find_member(members, self._request.node)]
        elif not before["incomplete"] and not before["streams"]:
            return {}
        if len(self._members(results)) > 1:
            for member in members:  # one after another: repairs of one range exclude each other
                self._on_nodes(
                    results, "repair", TaskKind.RESTORE_REPAIR, {member.host_id: {"tables": tables}}
                )
        return {"repaired": tables}

    def _check(self, results: Results) -> Mapping[str, Any]:
        """Compare the restored rows with the backup's figures; the end of the job judges."""
        if not self._request.check:
            return {"checks": {}}
        figures = results[RestorePhase.PREFLIGHT.value]["figures"]
        tables = results[RestorePhase.SELECT.value]["tables"]
        own = check_tasks(figures, self._members(results), tables)
        found = self._on_nodes(results, "check", TaskKind.RESTORE_CHECK, own)
        checks = merged_checks(f["checks"] for f in found.values())
        self._tools.database.restores.update(self._restore.id, checks=checks)
        return {"checks": checks}

    def _cleanup(self, results: Results) -> Mapping[str, Any]:
        own: dict[str, dict[str, Any]] = {m.host_id: {} for m in self._members(results)}
        self._on_nodes(results, "cleanup", TaskKind.RESTORE_CLEANUP, own)
        judge(results)
        return {}

    def _read_backup(self) -> Preflight:
        backup = self._tools.database.backups.get(self._restore.backup_id)
        return Preflight(self._tools.repository, self._restore, backup.manifest_sha256)

    # How the steps reach workers.

    def _ask(self, step: str, kind: TaskKind, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._any_worker.any(
            f"{self._job.id}:{step}", kind, lambda host_id: self._arguments(host_id, arguments)
        )

    def _on_one(
        self, results: Results, step: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Run what changes the whole cluster on one node, always the same.

        A conductor that takes over finds a task that runs, and does not begin it a second time
        elsewhere: a late TRUNCATE would empty what is imported by then.
        """
        host_id = self._members(results)[0].host_id
        return self._on_nodes(results, step, kind, {host_id: arguments})[host_id]

    def _members(self, results: Results) -> list[RingMember]:
        present = results[RestorePhase.CENSUS.value]["present"]
        return [RingMember.from_json(e["member"]) for e in present]

    def _address(self, results: Results, host_id: str) -> str:
        return next(m.address for m in self._members(results) if m.host_id == host_id)

    def _on_nodes(
        self,
        results: Results,
        step: str,
        kind: TaskKind,
        own: Mapping[str, Mapping[str, Any]],
    ) -> Mapping[str, Mapping[str, Any]]:
        """Run a task on the nodes that ``own`` has arguments for; return results by host ID."""
        members = [m for m in self._members(results) if m.host_id in own]
        calls = [self._call(m, step, kind, own[m.host_id]) for m in members]
        for member in members:
            self._records.enter(member, step)
        outcomes = self._tools.fanout.run(
            calls,
            progress=self._records.write_progress,
            ended=lambda outcome: self._records.leave(outcome, step),
        )
        error = first_error(outcomes)
        if error is not None:
            raise error
        return {o.call.host_id: o.result for o in outcomes}

    def _call(
        self, member: RingMember, step: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> Call:
        return Call(
            host_id=member.host_id,
            host=member.address,
            worker_id=self._worker_of(member.host_id),
            task_id=f"{self._job.id}:{step}:{member.host_id}",
            kind=kind,
            arguments=self._arguments(member.host_id, arguments),
        )

    def _worker_of(self, host_id: str) -> str:
        stored = self._tools.database.jobs.step_results(self._job.id, self._job.round)
        for entry in stored[RestorePhase.CENSUS.value]["present"]:
            if entry["member"]["host_id"] == host_id:
                return str(entry["worker_id"])
        raise RestoreRefused(f"node {host_id} is not in the census of this restore")

    def _arguments(self, host_id: str, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "host_id": host_id,
            "restore_id": self._restore.id,
            "backup_id": self._restore.backup_id,
            "source_cluster": self._restore.source_cluster,
            **extra,
        }


def _text(pair: Sequence[str]) -> str:
    return f"{pair[0]}.{pair[1]}"
