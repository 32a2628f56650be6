# SPDX-License-Identifier: Apache-2.0
"""The steps of a job as people see them: what each does, its state and its time."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.restore.records import OFFLINE_PHASES, Restore, RestorePhase

_BACKUP = {
    Phase.RESOLVE: "choose the tables",
    Phase.CENSUS: "find all nodes of the cluster",
    Phase.FIGURES_BEFORE: "count and digest the rows",
    Phase.PREPARE: "check the nodes",
    Phase.SCHEMA_BEFORE: "read the schema",
    Phase.SNAPSHOT: "flush and take the snapshots",
    Phase.SCHEMA_AFTER: "check that the schema is the same",
    Phase.FIGURES_AFTER: "count and digest the rows again",
    Phase.UPLOAD: "upload what the store lacks",
    Phase.RELEASE: "remove the snapshots",
    Phase.COMMIT: "write the backup manifest",
}
_FINGERPRINTS = (Phase.FIGURES_BEFORE, Phase.FIGURES_AFTER)
_RESTORE = {
    RestorePhase.SELECT: "choose the tables",
    RestorePhase.CENSUS: "find all nodes of the target",
    RestorePhase.PREFLIGHT: "check the target and make the plan",
    RestorePhase.DOWNLOAD: "fetch and verify the files",
    RestorePhase.SCHEMA: "create keyspaces and tables",
    RestorePhase.CONFIRM: "check that everything is staged",
    RestorePhase.TRUNCATE: "empty the tables",
    RestorePhase.IMPORT: "hand the files to Cassandra",
    RestorePhase.STOP: "stop Cassandra",
    RestorePhase.PLACE: "put the files in place",
    RestorePhase.START: "start Cassandra",
    RestorePhase.INDEXES: "build the indexes",
    RestorePhase.VIEWS: "build materialized views and indexes",
    RestorePhase.REPAIR: "repair the tables that need it",
    RestorePhase.CHECK: "compare the rows with the fingerprints",
    RestorePhase.CLEANUP: "remove the staged files",
}
_PLANNING = (RestorePhase.SELECT, RestorePhase.CENSUS, RestorePhase.PREFLIGHT)


class State(str, enum.Enum):
    """State of a step."""

    TO_DO = "to do"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Step:
    """A step; ``seconds`` is how long it ran, None if it was not seen running."""

    name: str
    text: str
    state: State = State.TO_DO
    seconds: float | None = None


def steps_of_backup(backup: Backup) -> dict[str, str]:
    """Return name and text of the steps of a backup's job, in order."""
    return {
        phase.value: text
        for phase, text in _BACKUP.items()
        if backup.figures or phase not in _FINGERPRINTS
    }


def steps_of_restore(restore: Restore) -> dict[str, str]:
    """Return name and text of the steps of a restore's job, in order."""
    request = restore.request
    left_out = {RestorePhase.IMPORT} if request.offline else set(OFFLINE_PHASES)
    if not request.check:
        left_out.add(RestorePhase.CHECK)
    return {
        phase.value: text
        for phase, text in _RESTORE.items()
        if phase not in left_out and (phase in _PLANNING or not request.dry_run)
    }


class StepList:
    """Follows a job by the phases that its record shows; times in seconds of one clock."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.steps = [Step(name, text) for name, text in texts.items()]
        self._started: dict[str, float] = {}

    def at(self, phase: str, now: float, ended: State | None = None) -> None:
        """Record the phase that a look showed; ``ended`` is how the job ended, None if it runs."""
        if phase and phase not in {step.name for step in self.steps}:
            self.steps.append(Step(phase, ""))  # of another version of the service
        place = next((i for i, step in enumerate(self.steps) if step.name == phase), -1)
        for number, step in enumerate(self.steps):
            if ended is State.DONE or number < place:
                self._stop(step, now, State.DONE)
            elif number == place:
                self._started.setdefault(step.name, now)
                step.seconds = now - self._started[step.name]
                step.state = State.RUNNING
                if ended is not None:
                    self._stop(step, now, ended)
            else:  # a job that found another schema begins again with an earlier step
                self._started.pop(step.name, None)
                step.state, step.seconds = State.TO_DO, None

    def _stop(self, step: Step, now: float, state: State) -> None:
        if step.state is State.RUNNING:
            step.seconds = now - self._started[step.name]
        step.state = state
