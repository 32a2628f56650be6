# SPDX-License-Identifier: Apache-2.0
"""Records of schedules and of their runs. Times are aware, in UTC."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.schedule.actions import Action, Verifying
from magnetodb_backup.domain.schedule.timetable import Timetable
from magnetodb_backup.errors import InvalidValue


class ScheduleStatus(str, enum.Enum):
    """A schedule that is PAUSED begins nothing by itself."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


class Overlap(str, enum.Enum):
    """What happens to a run while work of the same kind on the cluster is not finished."""

    QUEUE = "queue"
    SKIP = "skip"


class Missed(str, enum.Enum):
    """What happens to a run that could not begin in its window."""

    RUN = "run"
    SKIP = "skip"


class RunStatus(str, enum.Enum):
    """How a run ended: as its backup or its jobs did, or without any.

    DONE, FAILED and CANCELLED are of jobs; a verification that finds damage is FAILED.
    """

    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CREATED = "CREATED"
    PARTIAL = "PARTIAL"
    CREATE_FAILED = "CREATE_FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    MISSED = "MISSED"


@dataclass(frozen=True)
class Timing:
    """When a schedule runs.

    ``jitter``: each run begins up to so many seconds after its planned time. ``begin_within``: a
    run that cannot begin in so many seconds after that is late. ``finish_within``: its work is
    cancelled if it is not complete so many seconds after the run began; None for no limit.
    """

    cron: str
    zone: str = "UTC"
    jitter: int = 0
    begin_within: int = 3600
    finish_within: int | None = None
    overlap: Overlap = Overlap.QUEUE
    missed: Missed = Missed.RUN

    @property
    def timetable(self) -> Timetable:
        """The planned times."""
        return Timetable(self.cron, self.zone)

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {**asdict(self), "overlap": self.overlap.value, "missed": self.missed.value}


_TIMING = frozenset(f.name for f in fields(Timing))
# A run's backup has a name and the cluster of its schedule.
BACKUP_FIELDS = tuple(f.name for f in fields(BackupRequest) if f.name not in ("name", "cluster"))
_VERIFYING = {"verify": "rungs", "sample": "sample", "each_in": "each_in"}


@dataclass(frozen=True)
class ScheduleRequest:
    """What a user asks for; ``backup`` is the request of each run, without a name.

    It has no scope if the action is another one. ``retention`` is the own policy of the schedule's
    backups, None if they have that of the cluster. ``verify`` is what VERIFY verifies, and what is
    verified after each backup of a BACKUP schedule, None for nothing.
    """

    name: str
    timing: Timing
    backup: BackupRequest
    paused: bool = False
    action: Action = Action.BACKUP
    verify: Verifying | None = None
    retention: Policy | None = None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ScheduleRequest:
        """Return the request with the fields of a body, whose names and types are checked."""
        timing, backup = _split(body)
        request = BackupRequest(**{"scope": {}, **backup}, cluster=body.get("cluster"))
        return cls(
            body["name"],
            Timing(**timing),
            request,
            bool(body.get("paused", False)),
            Action(body.get("action", Action.BACKUP)),
            _verifying(body, None),
            _policy(body, None),
        )

    def changed(self, changes: Mapping[str, Any]) -> ScheduleRequest:
        """Return the request with the fields of ``changes`` instead of its own."""
        timing, backup = _split(changes)
        return replace(
            self,
            name=changes.get("name", self.name),
            timing=replace(self.timing, **timing),
            backup=replace(self.backup, **backup),
            verify=_verifying(changes, self.verify),
            retention=_policy(changes, self.retention),
        )


def _verifying(body: Mapping[str, Any], present: Verifying | None) -> Verifying | None:
    """Return what is verified, with the fields of a body instead of those of ``present``.

    A sample replaces a number of days, and the other way round.

    :raises InvalidValue: if both are given.
    """
    given = {member: body[name] for name, member in _VERIFYING.items() if name in body}
    if not given:
        return present
    sampled = given.get("sample") is not None, given.get("each_in") is not None
    if all(sampled):
        raise InvalidValue("sample and each_in exclude each other: each_in chooses the sample")
    if "rungs" in given:
        given["rungs"] = tuple(given["rungs"])
        if not given["rungs"] and not any(sampled):
            return None
    if any(sampled):
        given = {"sample": None, "each_in": None, **given}
    changed = replace(present or Verifying(), **given)
    return None if changed == Verifying() else changed


def _policy(body: Mapping[str, Any], present: Policy | None) -> Policy | None:
    if "retention" not in body:
        return present
    return None if body["retention"] is None else Policy(**body["retention"])


def _split(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    timing = {name: value for name, value in body.items() if name in _TIMING}
    for name, kind in (("overlap", Overlap), ("missed", Missed)):
        if name in timing:
            timing[name] = kind(timing[name])
    backup = {name: value for name, value in body.items() if name in BACKUP_FIELDS}
    if "data_centers" in backup:
        backup["data_centers"] = tuple(backup["data_centers"])
    return timing, backup


@dataclass(frozen=True)
class Schedule:
    """A schedule's record. Planned times up to ``planned_until`` have been decided.

    The other fields are those of its request.
    """

    id: str
    name: str
    cluster: str
    status: ScheduleStatus
    timing: Timing
    backup: BackupRequest
    planned_until: datetime
    created_at: datetime
    updated_at: datetime
    action: Action = Action.BACKUP
    verify: Verifying | None = None
    retention: Policy | None = None

    def due_at(self, planned: datetime) -> datetime:
        """Return when the run of a planned time begins: the same for each conductor."""
        if not self.timing.jitter:
            return planned
        digest = hashlib.sha256(f"{self.id} {planned.timestamp():.0f}".encode()).digest()
        seconds = int.from_bytes(digest[:8], "big") % (self.timing.jitter + 1)
        return planned + timedelta(seconds=seconds)

    def as_request(self) -> ScheduleRequest:
        """Return the request that makes this schedule."""
        paused = self.status is ScheduleStatus.PAUSED
        return ScheduleRequest(
            self.name, self.timing, self.backup, paused, self.action, self.verify, self.retention
        )


@dataclass(frozen=True)
class ScheduleRun:
    """What was decided for one planned time. ``due_at`` is that time with its jitter.

    ``backup_id`` is empty if there is no backup; ``jobs`` are the IDs of other jobs that it
    started. ``reason`` says why there is neither, or what went wrong.
    """

    schedule_id: str
    planned_at: datetime
    due_at: datetime
    status: RunStatus
    decided_at: datetime
    backup_id: str = ""
    reason: str = ""
    manual: bool = False
    finish_by: datetime | None = None
    finished_at: datetime | None = None
    jobs: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """True if the run has started work."""
        return bool(self.backup_id or self.jobs)


@dataclass(frozen=True)
class ScheduleState:
    """A schedule with its newest run, and the next planned time.

    ``next_run_at`` is None if it is paused. A run whose time has come but that has not begun is
    named by ``due_since``, and the backup or job that it waits for by ``waiting_for``.
    """

    schedule: Schedule
    last_run: ScheduleRun | None = None
    next_run_at: datetime | None = None
    due_since: datetime | None = None
    waiting_for: str = ""
    runs: tuple[ScheduleRun, ...] = field(default=())

    @property
    def id(self) -> str:
        """The schedule's ID."""
        return self.schedule.id
