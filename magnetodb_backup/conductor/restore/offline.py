# SPDX-License-Identifier: Apache-2.0
"""The offline restore job: every node is stopped, its tables' files are exchanged, it is started.

Nothing is exchanged before all nodes have stopped: one that runs on newer rows would repair the
others with them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magnetodb_backup.conductor.census import Census, require_all, take_census
from magnetodb_backup.conductor.fanout import Fanout, Outcome
from magnetodb_backup.conductor.job import Results, Step
from magnetodb_backup.conductor.restore.check import add_check, differing, judge
from magnetodb_backup.conductor.restore.job import PlanMade, RestoreJob, RestoreTools
from magnetodb_backup.conductor.restore.preflight import make_plan
from magnetodb_backup.domain.backup.records import Job
from magnetodb_backup.domain.restore.offline import (
    choose_places,
    down_problems,
    exchange_state,
    is_everything,
    offline_warnings,
)
from magnetodb_backup.domain.restore.records import Existing, Restore, RestorePhase
from magnetodb_backup.domain.restore.routing import find_member
from magnetodb_backup.domain.restore.table_states import (
    DIFFERS,
    RESTORED,
    still_missing,
    table_states,
)
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import statements_by_table
from magnetodb_backup.domain.tables import (
    KeyspaceDescription,
    Selection,
    TableDescription,
    TableName,
)
from magnetodb_backup.errors import BackupError, RestoreRefused
from magnetodb_backup.tasks.kinds import TaskKind

LOG = logging.getLogger(__name__)
_INDEX_SECONDS = 3600  # for building the storage-attached indexes of one restore
_ORDER = list(RestorePhase)


def make_restore_job(job: Job, restore: Restore, tools: RestoreTools) -> RestoreJob:
    """Return the job for the kind of restore that was asked for."""
    return (OfflineJob if restore.request.offline else RestoreJob)(job, restore, tools)


@dataclass(frozen=True)
class _Names:
    """The target tables: those of users, and Cassandra's own, which are in no schema."""

    users: list[Any]
    own: list[Any]

    @classmethod
    def of(cls, selected: Mapping[str, Any]) -> _Names:
        own = [p for p in selected["tables"] if KeyspaceDescription(p[1][0]).is_system]
        return cls([p for p in selected["tables"] if p not in own], own)


class OfflineJob(RestoreJob):
    """The steps of one offline restore."""

    def __init__(self, job: Job, restore: Restore, tools: RestoreTools) -> None:
        super().__init__(job, restore, tools)
        # What came of the attempt to leave all as it was: errors by address; views that are gone.
        self._put_back_errors: dict[str, str] = {}
        self._lacks_views = False

    def steps(self, round_: int) -> Sequence[Step]:
        """Return the steps, in order; there is one round only."""
        work: Sequence[tuple[RestorePhase, Callable[[Results], Mapping[str, Any]]]] = (
            (RestorePhase.SELECT, self._select),
            (RestorePhase.CENSUS, self._census),
            (RestorePhase.PREFLIGHT, self._preflight),
            (RestorePhase.DOWNLOAD, self._download),
            (RestorePhase.SCHEMA, lambda results: self._schema(_users_only(results))),
            (RestorePhase.TRUNCATE, self._drop_views),
            (RestorePhase.STOP, self._stop),
            (RestorePhase.PLACE, self._place),
            (RestorePhase.START, self._start),
            (RestorePhase.INDEXES, self._indexes),
            (RestorePhase.VIEWS, self._views),
            (RestorePhase.REPAIR, self._repair),
            (RestorePhase.CHECK, lambda results: self._check(_users_only(results))),
            (RestorePhase.CLEANUP, self._cleanup),
        )
        return [Step(phase.value, run) for phase, run in work]

    def remove_staging(self, fanout: Fanout) -> list[Outcome]:
        """Leave the nodes as they were if that is possible, running in any case."""
        phase = self._phase()
        if _reached(phase, RestorePhase.STOP):
            self._leave_running(files=not _reached(phase, RestorePhase.START))
        if _reached(phase, RestorePhase.TRUNCATE):
            self._make_views_again()
        return super().remove_staging(fanout)

    def table_states(self) -> Mapping[str, str]:
        """Return what is known of each target table now, by what steps have done."""
        stored = self._stored()
        selected = stored.get(RestorePhase.SELECT.value, {"tables": []})
        names = {TableName(k, t): f"{k}.{t}" for _, (k, t) in selected["tables"]}
        if RestorePhase.CLEANUP.value in stored:
            return dict.fromkeys(names.values(), RESTORED)
        phase, before = self._phase(), stored.get(RestorePhase.PREFLIGHT.value, {})
        late = statements_by_table(before.get("schema", {}).get("after", ()))
        if not _reached(phase, RestorePhase.STOP):
            exists = before.get("exists", {})
            return table_states(
                names.values(),
                phase=phase,
                done=[p.value for p in RestorePhase if p.value in stored],
                existing=Existing.REFUSE,  # nothing is truncated
                existed={text: exists.get(str(name), True) for name, text in names.items()},
                refused={},
                late=late if self._lacks_views else {},
            )
        state = exchange_state(
            self._restore.id,
            started=_reached(phase, RestorePhase.START),
            errors=self._put_back_errors,
        )
        different = differing(stored.get(RestorePhase.CHECK.value, {}).get("checks", {}))
        return {
            text: (f"{DIFFERS}. It " if text in different else "")
            + state
            + (still_missing(late.get(text, ())) if self._lacks_views else "")
            for text in names.values()
        }

    # The steps, in their order.

    def _census(self, results: Results) -> Mapping[str, Any]:
        """Find all nodes; Cassandra need not run on those that are to be restored."""
        deadline = self._any_worker.deadline()
        while True:
            answer = self._ask("census", TaskKind.DESCRIBE, {})
            ring = [RingMember.from_json(m) for m in answer["ring"]]
            nodes = self._any_worker.nodes()
            census = take_census(ring, nodes)
            if not census.missing or time.monotonic() > deadline:
                break
            self._any_worker.wait_a_moment(deadline)
        only = find_member(ring, self._request.node) if self._request.node else None
        workers = {
            n.report.member.host_id: n.report.worker_id
            for n in nodes
            if n.live and n.report.down and n.report.member is not None
        }
        down = [m for m, _ in census.missing if m.host_id in workers and only in (None, m)]
        # Those that are down come last: the first one makes changes for all.
        present = [*census.present, *((m, workers[m.host_id]) for m in down)]
        missing = [(m, reason) for m, reason in census.missing if m not in down]
        require_all(Census(tuple(present), tuple(missing)))
        for member, _ in present:
            self._records.enter(member, RestorePhase.CENSUS.value)
        return {
            "ring": [m.as_json() for m in ring],
            "present": [{"member": m.as_json(), "worker_id": w} for m, w in present],
            "down": [m.host_id for m in down],
        }

    def _preflight(self, results: Results) -> Mapping[str, Any]:
        """Find out everything that can be known beforehand; refuse what cannot go well."""
        selected = results[RestorePhase.SELECT.value]
        names = _Names.of(selected)
        compared = self._ask(
            "compare",
            TaskKind.RESTORE_COMPARE,
            {
                "tables": names.users,
                "whole_keyspaces": _user_keyspaces(selected["whole_keyspaces"]),
                "own_tables": [t for _, t in names.own],
            },
        )
        preflight = self._read_backup()
        ring = [RingMember.from_json(m) for m in results[RestorePhase.CENSUS.value]["ring"]]
        ways, problems = choose_places(
            preflight.manifest.nodes,
            preflight.manifest.missing_nodes,
            ring,
            preflight.selection().keyspaces,
            compared["replication"],
            find_member(ring, self._request.node) if self._request.node else None,
        )
        work = preflight.work(ways, selected)
        there = self._tables_there()
        targets = self._targets(results)
        nodes = self._on_nodes(
            results,
            "preflight",
            TaskKind.RESTORE_PREFLIGHT,
            {m.host_id: {"parts": work.get(m.host_id, [])} for m in targets},
        )
        wanted = [there[name] for name in self._wanted(selected) if name in there]
        tables = {"tables": [t.as_json() for t in wanted]}
        ready = self._on_nodes(
            results, "ready", TaskKind.RESTORE_READY, {m.host_id: tables for m in targets}
        )
        steps = preflight.schema(ways, compared, selected)
        everything = is_everything(
            self._wanted(selected), [t.name for t in there.values() if not t.is_view]
        )
        down = results[RestorePhase.CENSUS.value]["down"]
        problems += [f"{m.address}: {p}" for m in targets for p in ready[m.host_id]["problems"]]
        problems += down_problems(
            [m for m in targets if m.host_id in down],
            changes_schema=bool(steps.before or (steps.after and not self._request.node)),
            everything=everything,
            single=bool(self._request.node),
        )
        plan = make_plan(
            self._restore, preflight.manifest, ring, selected, compared, ways, steps, nodes
        )
        plan["problems"] += problems
        plan["warnings"] += offline_warnings(
            {m.address: ready[m.host_id]["left"] for m in targets},
            everything=everything,
            system_auth=bool(names.own),
        )
        figures: Mapping[str, Any] = {}
        if self._request.check:
            users = {**selected, "tables": names.users}
            figures = add_check(plan, self._tools.repository, self._request, users, compared)
        self._tools.database.restores.update(self._restore.id, plan=plan)
        if self._request.dry_run:
            raise PlanMade
        if plan["problems"]:
            raise RestoreRefused("; ".join(plan["problems"]))
        return {
            "schema": steps.as_json(),
            "exists": dict(compared["exists"]),
            "work": work,
            "sizes": {
                h: {"files": n["files"], "bytes": n["bytes"], "room": ready[h]["free"]}
                for h, n in nodes.items()
            },
            "incomplete": list(ways.incomplete),
            "streams": False,
            "figures": figures,
            "everything": everything,
        }

    def _drop_views(self, results: Results) -> Mapping[str, Any]:
        """Drop the views of the tables; they are made again of the restored rows."""
        if self._request.node:
            return {}
        tables = [t for _, t in _Names.of(results[RestorePhase.SELECT.value]).users]
        arguments = {"tables": tables, "truncate": False, "indexes": []}
        return self._on_one(results, "truncate", TaskKind.RESTORE_TRUNCATE, arguments)

    def _stop(self, results: Results) -> Mapping[str, Any]:
        there = self._tables_there()
        wanted = self._wanted(results[RestorePhase.SELECT.value])
        if gone := [str(name) for name in wanted if name not in there]:
            raise RestoreRefused(f"somebody drops tables meanwhile: {', '.join(gone)}")
        targets = self._targets(results)
        self._on_nodes(
            results, "quiesce", TaskKind.RESTORE_QUIESCE, {m.host_id: {} for m in targets}
        )
        self._on_nodes(
            results,
            "stop",
            TaskKind.RESTORE_STOP,
            {m.host_id: self._scale(results) for m in targets},
        )
        return {"tables": [there[name].as_json() for name in wanted]}

    def _place(self, results: Results) -> Mapping[str, Any]:
        tables = results[RestorePhase.STOP.value]["tables"]
        work = results[RestorePhase.PREFLIGHT.value]["work"]
        own = {
            m.host_id: {
                "tables": tables,
                "sources": [part["source"] for part in work.get(m.host_id, ())],
                **self._scale(results),
            }
            for m in self._targets(results)
        }
        self._on_nodes(results, "place", TaskKind.RESTORE_PLACE, own)
        return {}

    def _start(self, results: Results) -> Mapping[str, Any]:
        own = {m.host_id: {"tokens": [str(t) for t in m.tokens]} for m in self._targets(results)}
        self._on_nodes(results, "start", TaskKind.RESTORE_START, own)
        return {}

    def _indexes(self, results: Results) -> Mapping[str, Any]:
        arguments = {
            "tables": results[RestorePhase.STOP.value]["tables"],
            "seconds": _INDEX_SECONDS,
        }
        own = {m.host_id: arguments for m in self._targets(results)}
        self._on_nodes(results, "indexes", TaskKind.RESTORE_INDEXES, own)
        return {}

    def _cleanup(self, results: Results) -> Mapping[str, Any]:
        judge(results)  # the files of before are kept unless all is well
        own: dict[str, dict[str, Any]] = {m.host_id: {} for m in self._targets(results)}
        self._on_nodes(results, "discard", TaskKind.RESTORE_DISCARD, own)
        own = {m.host_id: {} for m in self._members(results)}
        self._on_nodes(results, "cleanup", TaskKind.RESTORE_CLEANUP, own)
        return {}

    # Parts.

    def _leave_running(self, *, files: bool) -> None:
        """Put the old files back where asked, and start Cassandra on all nodes."""
        stored = self._stored()
        down = stored[RestorePhase.CENSUS.value]["down"]
        calls = [
            self._call(
                m,
                "put_back",
                TaskKind.RESTORE_PUT_BACK,
                {"files": files, "down": m.host_id in down},
            )
            for m in self._targets(stored)
        ]
        outcomes = self._tools.fanout.run(calls, stop_at_first_error=False)
        self._put_back_errors = {o.call.host: str(o.error) for o in outcomes if o.error is not None}

    def _make_views_again(self) -> None:
        stored = self._stored()
        after = stored[RestorePhase.PREFLIGHT.value]["schema"]["after"]
        if not after or self._request.node:
            return
        self._lacks_views = True
        if self._put_back_errors:
            return  # not all nodes would hear of it
        try:
            self._ask("views_again", TaskKind.RESTORE_SCHEMA, {"statements": after})
        except BackupError as error:
            LOG.warning("views of restore %s are not made again: %s", self._restore.id, error)
        else:
            self._lacks_views = False

    def _stored(self) -> Results:
        return Results(self._tools.database.jobs.step_results(self._job.id, self._job.round))

    def _phase(self) -> str:
        return self._tools.database.restores.get(self._restore.id).phase

    def _scale(self, results: Results) -> Mapping[str, bool]:
        return {
            "everything": bool(results[RestorePhase.PREFLIGHT.value]["everything"]),
            "single": bool(self._request.node),
        }

    def _targets(self, results: Results) -> list[RingMember]:
        """Return the nodes that are stopped."""
        members = self._members(results)
        return [find_member(members, self._request.node)] if self._request.node else members

    @staticmethod
    def _wanted(selected: Mapping[str, Any]) -> list[TableName]:
        pairs = (*selected["tables"], *selected["views"])
        return [TableName(keyspace, table) for _, (keyspace, table) in pairs]

    def _tables_there(self) -> dict[TableName, TableDescription]:
        """Return the tables that exist now, with their IDs."""
        answer = self._ask("tables", TaskKind.RESOLVE, {"scope": {"type": "all"}})
        return {t.name: t for t in Selection.from_json(answer["selection"]).tables}


def _users_only(results: Results) -> Results:
    """Return the results with a selection without Cassandra's own tables."""
    selected = results[RestorePhase.SELECT.value]
    users = {
        **selected,
        "tables": _Names.of(selected).users,
        "whole_keyspaces": _user_keyspaces(selected["whole_keyspaces"]),
    }
    return Results({**results, RestorePhase.SELECT.value: users})


def _user_keyspaces(names: Sequence[str]) -> list[str]:
    return [name for name in names if not KeyspaceDescription(name).is_system]


def _reached(phase: str, wanted: RestorePhase) -> bool:
    return bool(phase) and _ORDER.index(RestorePhase(phase)) >= _ORDER.index(wanted)
