# SPDX-License-Identifier: Apache-2.0
"""The form of schedules and their runs in the REST API and in ``-f json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from magnetodb_backup.domain.backup.views import time_view
from magnetodb_backup.domain.schedule.actions import Verifying
from magnetodb_backup.domain.schedule.records import ScheduleRun, ScheduleState


def schedule_view(state: ScheduleState, *, with_runs: bool = False) -> dict[str, Any]:
    """Return the fields of a schedule; with its runs only if asked."""
    schedule, backup, timing = state.schedule, state.schedule.backup, state.schedule.timing
    local = None
    if state.next_run_at is not None:
        local = timing.timetable.local(state.next_run_at).isoformat(timespec="seconds")
    view: dict[str, Any] = {
        "id": schedule.id,
        "name": schedule.name,
        "cluster": schedule.cluster,
        "status": schedule.status.value,
        "action": schedule.action.value,
        **timing.as_json(),
        "scope": dict(backup.scope),
        "type": backup.type,
        "data_centers": list(backup.data_centers),
        "allow_partial": backup.allow_partial,
        "on_corrupt": backup.on_corrupt,
        "figures": backup.figures,
        **_verifying_view(schedule.verify),
        "retention": None if schedule.retention is None else asdict(schedule.retention),
        "created_at": time_view(schedule.created_at),
        "updated_at": time_view(schedule.updated_at),
        "next_run_at": time_view(state.next_run_at),
        "next_run_local": local,
        "due_since": time_view(state.due_since),
        "waiting_for": state.waiting_for,
        "last_run": None if state.last_run is None else run_view(state.last_run),
    }
    if with_runs:
        view["runs"] = [run_view(run) for run in state.runs]
    return view


def _verifying_view(verify: Verifying | None) -> dict[str, Any]:
    """Return the fields of what is verified; without anything they are empty."""
    if verify is None:
        return {"verify": [], "sample": None, "each_in": None}
    rungs = [rung.value for rung in verify.wanted]
    return {"verify": rungs, "sample": verify.sample, "each_in": verify.each_in}


def run_view(run: ScheduleRun) -> dict[str, Any]:
    """Return the fields of a run."""
    return {
        "planned_at": time_view(run.planned_at),
        "due_at": time_view(run.due_at),
        "begun_at": time_view(run.decided_at),
        "finished_at": time_view(run.finished_at),
        "status": run.status.value,
        "backup_id": run.backup_id,
        "jobs": list(run.jobs),
        "reason": run.reason,
        "manual": run.manual,
    }
