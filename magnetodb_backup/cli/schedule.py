# SPDX-License-Identifier: Apache-2.0
"""schedule create, list, show, set, delete, pause, resume, run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import ServiceCommand
from magnetodb_backup.cli.backup_options import add_backup_options, backup_options
from magnetodb_backup.cli.policy_words import words_of
from magnetodb_backup.cli.schedule_options import (
    action_options,
    add_action,
    add_timing,
    timing_options,
)
from magnetodb_backup.cli.show import ListCommand, RecordCommand, cell
from magnetodb_backup.cli.summary import follow_up, scope_text
from magnetodb_backup.cli.units import count, moment
from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.records import (
    RunStatus,
    Schedule,
    ScheduleRequest,
    ScheduleRun,
    ScheduleState,
    ScheduleStatus,
)
from magnetodb_backup.domain.schedule.views import run_view, schedule_view
from magnetodb_backup.errors import InvalidValue

_SHOWN_RUNS = 10


def _add_schedule(parser: ArgumentParser) -> None:
    parser.add_argument("schedule", help="ID, name, or the ID's first 8 or more digits")


class _ScheduleCommand(RecordCommand):
    """Shows a schedule."""

    def schedule_columns(
        self, parsed_args: Namespace, schedule_id: str, runs: int = _SHOWN_RUNS
    ) -> Any:
        """Return columns for cliff."""
        state = self.services.database().schedules.state(schedule_id, runs=runs)
        return self.shown(
            parsed_args,
            schedule_view(state, with_runs=True),
            brief=lambda: _fields(state),
            text=_cell,
        )


class _OnSchedule(_ScheduleCommand):
    """Works on an existing schedule."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_schedule(parser)
        return parser

    def find(self, parsed_args: Namespace) -> Schedule:
        """Return the schedule that the argument names."""
        return self.services.database().schedules.find(parsed_args.schedule)


class Create(_ScheduleCommand):
    """Create a schedule of backups, of verifications, of collections or of expiries."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("name", help="unique name; the names of its backups begin with it")
        parser.add_argument(
            "--cluster", help="cluster of the schedule; required if the service has several"
        )
        add_timing(parser)
        add_action(parser)
        add_backup_options(parser, scope_required=False)
        parser.add_argument("--paused", action="store_true", help="create the schedule paused")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        body = {
            "name": parsed_args.name,
            "cluster": parsed_args.cluster,
            "paused": parsed_args.paused,
            **timing_options(parsed_args),
            **action_options(parsed_args),
            **backup_options(parsed_args),
        }
        request = ScheduleRequest.from_json(body)
        schedule = self.services.requests().create_schedule(request)
        return self.schedule_columns(parsed_args, schedule.id)


class List(ListCommand):
    """List schedules, newest first."""

    noun = "schedule"
    columns = (
        "id", "name", "action", "cluster", "status", "cron", "zone", "next_run_at", "last_run_at",
        "last_run_status", "last_run_end",
    )  # fmt: skip

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        states = self.services.database().schedules.list(**self.chosen(parsed_args))
        return self.rows(parsed_args, (_listed(schedule_view(state)) for state in states))


def _listed(view: dict[str, Any]) -> dict[str, Any]:
    last = view["last_run"] or {}
    view |= {
        "last_run_at": last.get("due_at"),
        "last_run_status": last.get("status"),
        "last_run_end": last.get("finished_at"),
    }
    return {name: "" if value is None else value for name, value in view.items()}


class Show(_OnSchedule):
    """Show a schedule, its newest runs, and when it runs next."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--runs",
            type=int,
            default=_SHOWN_RUNS,
            metavar="N",
            help=f"show at most N runs; {_SHOWN_RUNS} by default",
        )
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        if parsed_args.runs < 1:
            raise InvalidValue(f"--runs is {parsed_args.runs}; use 1 or more")
        return self.schedule_columns(parsed_args, self.find(parsed_args).id, parsed_args.runs)


class Set(_OnSchedule):
    """Change a schedule. Options that are left out keep their values."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", help="new name; earlier backups keep theirs")
        add_timing(parser, change=True)
        add_action(parser, change=True)
        add_backup_options(parser, change=True)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        changes = {
            **timing_options(parsed_args),
            **action_options(parsed_args),
            **backup_options(parsed_args),
        }
        if parsed_args.name is not None:
            changes["name"] = parsed_args.name
        if parsed_args.no_finish_within:
            changes["finish_within"] = None
        if not changes:
            raise InvalidValue("nothing is to be changed; name an option, see --help")
        schedule = self.find(parsed_args)
        self.services.requests().change_schedule(schedule.id, changes)
        return self.schedule_columns(parsed_args, schedule.id)


class Pause(_OnSchedule):
    """Pause a schedule. What runs continues."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        schedule = self.find(parsed_args)
        self.services.requests().pause_schedule(schedule.id)
        return self.schedule_columns(parsed_args, schedule.id)


class Resume(_OnSchedule):
    """Resume a paused schedule. Planned times during the pause do not count as missed."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        schedule = self.find(parsed_args)
        self.services.requests().resume_schedule(schedule.id)
        return self.schedule_columns(parsed_args, schedule.id)


class Run(_OnSchedule):
    """Begin a run of a schedule now, also of a paused one. Planned runs are not changed."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        run = self.services.requests().run_schedule(self.find(parsed_args).id)
        if run.backup_id:
            self._below = follow_up(self.services.command, "backup", run.backup_id)
        view = run_view(run)
        return self.shown(parsed_args, view, brief=lambda: view)


class Delete(ServiceCommand):
    """Delete a schedule and the records of its runs. Its backups stay."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        _add_schedule(parser)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> None:
        schedule = self.services.database().schedules.find(parsed_args.schedule)
        self.services.requests().delete_schedule(schedule.id)
        self.app.stdout.write(f"schedule {schedule.id} ({schedule.name}) is deleted\n")


def _cell(name: str, value: Any) -> Any:
    """Return a field as the text of a cell, with a line for each part of it."""
    if name == "runs":
        return "\n".join(_view_line(run) for run in value)
    if name == "last_run" and value:
        return _view_line(value)
    return cell(name, value)


def _view_line(run: Mapping[str, Any]) -> str:
    rest = [_started(run["backup_id"], run["jobs"]), run["reason"]]
    return ": ".join(text for text in (run["due_at"], run["status"], *rest) if text)


def _started(backup_id: str, jobs: Sequence[str]) -> str:
    """Return what a run has started: a backup, or jobs of another action."""
    if backup_id or not jobs:
        return f"backup {backup_id}" if backup_id else ""
    return f"job {jobs[0]}" if len(jobs) == 1 else count(len(jobs), "job")


def _verifies(schedule: Schedule) -> str:
    """Return what is verified, as a text."""
    verify = schedule.verify
    if verify is None:
        return Rung.EXISTS.value if schedule.action is Action.VERIFY else ""
    parts = [", ".join(rung.value for rung in verify.wanted)]
    if verify.sample is not None:
        parts.append(f"{verify.sample:g} % of the packs")
    if verify.each_in is not None:
        parts.append(f"each in {count(verify.each_in, 'day')}")
    return "; ".join(parts)


def _fields(state: ScheduleState) -> dict[str, Any]:
    """Return what a table shows of a schedule; empty values are left out there."""
    schedule, timing = state.schedule, state.schedule.timing
    finish = timing.finish_within
    return {
        "id": schedule.id,
        "name": schedule.name,
        "cluster": schedule.cluster,
        "status": schedule.status.value,
        "action": schedule.action.value,
        "runs at": f"{timing.cron} in {timing.zone}",
        "jitter": f"up to {count(timing.jitter, 'second')}" if timing.jitter else "",
        "begins within": count(timing.begin_within, "second"),
        "finishes within": "" if finish is None else count(finish, "second"),
        "overlap": timing.overlap.value,
        "missed": timing.missed.value,
        "scope": scope_text(schedule.backup.scope) if schedule.backup.scope else "",
        "data centres": ", ".join(schedule.backup.data_centers),
        "verifies": _verifies(schedule),
        "retention": words_of(schedule.retention) if schedule.retention else "",
        "next run": _next(state),
        "due": _due(state),
        "last runs": "\n".join(_run_line(run) for run in state.runs),
    }


def _next(state: ScheduleState) -> str:
    if state.next_run_at is None:
        paused = state.schedule.status is ScheduleStatus.PAUSED
        return "none: the schedule is paused" if paused else "none: the expression has no more"
    local = state.schedule.timing.timetable.local(state.next_run_at)
    zone = state.schedule.timing.zone
    if zone == "UTC":
        return moment(state.next_run_at)
    return f"{local:%Y-%m-%d %H:%M:%S} {zone}, {moment(state.next_run_at)}"


def _due(state: ScheduleState) -> str:
    if state.due_since is None:
        return ""
    cause = "a conductor begins it with its next look"
    if state.waiting_for:
        what = "backup" if state.schedule.action is Action.BACKUP else "job"
        cause = f"waits for the end of {what} {state.waiting_for}"
    return f"since {moment(state.due_since)}: {cause}"


def _run_line(run: ScheduleRun) -> str:
    end = f" at {moment(run.finished_at)}" if run.finished_at and run.begun else ""
    if run.status is RunStatus.RUNNING:
        end = " now"
    kind = "requested" if run.manual else "planned"
    parts = [
        f"{moment(run.planned_at)} ({kind}): {run.status.value}{end}",
        _started(run.backup_id, run.jobs),
        run.reason,
    ]
    return ", ".join(text for text in parts if text)
