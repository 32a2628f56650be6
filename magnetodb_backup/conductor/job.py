# SPDX-License-Identifier: Apache-2.0
"""Jobs as lists of typed steps whose results are stored before the next one begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Job
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    OwnershipLost,
    SchemaChanged,
    Unexpected,
)
from magnetodb_backup.tasks.codec import decode, encode
from magnetodb_backup.tasks.kinds import Encoded

LOG = logging.getLogger(__name__)
_LONGEST_TEXT = 1_000_000  # characters of an error in a record
StepResult = TypeVar("StepResult")


class Results:
    """The stored results of a round's steps.

    A step's result is a frozen dataclass with the step's name as its class attribute ``step``.
    """

    def __init__(self, stored: Mapping[str, Encoded]) -> None:
        self._stored = dict(stored)
        self._decoded: dict[type[Any], Any] = {}

    def of(self, kind: type[StepResult]) -> StepResult:
        """Return the result of the step that ``kind`` belongs to.

        :raises Unexpected: if that step is not done, or its stored result has another form.
        """
        found = self.find(kind)
        if found is None:
            raise Unexpected(f"step {_step_of(kind)} has no result")
        return found

    def find(self, kind: type[StepResult]) -> StepResult | None:
        """Return the result of the step that ``kind`` belongs to, None if it is not done."""
        if kind not in self._decoded:
            stored = self._stored.get(_step_of(kind))
            if stored is None:
                return None
            self._decoded[kind] = decode(kind, stored)
        found: StepResult = self._decoded[kind]
        return found

    def add(self, name: str, result: Encoded) -> None:
        """Add the encoded result of a step."""
        self._stored[name] = result

    def __contains__(self, name: object) -> bool:
        """Return whether the step of this name is done."""
        return name in self._stored


def _step_of(kind: type[Any]) -> str:
    return str(kind.step)


class GivenUp(Exception):
    """This process stops, or lost the job; another conductor continues it."""


class StartAgain(Exception):
    """A step found that what earlier steps saw has changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Step:
    """One idempotent step: ``run`` gets the earlier results and returns its own.

    ``phase`` is what records show while it runs; by default the step's name.
    """

    name: str
    run: Callable[[Results], Any]
    phase: str = ""


def typed_step(
    result: type[StepResult], run: Callable[[Results], StepResult], *, phase: str = ""
) -> Step:
    """Return the step whose result is a ``result``."""
    return Step(_step_of(result), run, phase)


class StepRunner:
    """Runs a job's steps, leaving out those whose result is stored.

    ``raise_if_cancelled`` raises when the job must take no further step; ``entered`` is called
    with the phase of each step before it begins, ``pause`` with the number of each undone round
    before the next one: what has just changed takes a while to reach all nodes.
    """

    def __init__(
        self,
        database: Database,
        *,
        raise_if_cancelled: Callable[[], None],
        entered: Callable[[str], None],
        rounds: int,
        pause: Callable[[int], None] = lambda round_: None,
    ) -> None:
        self._database, self._raise_if_cancelled, self._entered = (
            database,
            raise_if_cancelled,
            entered,
        )
        self._rounds, self._pause = rounds, pause

    def run(
        self,
        job: Job,
        steps_of: Callable[[int], Sequence[Step]],
        undo_round: Callable[[int], None],
    ) -> Results:
        """Run all steps; on ``StartAgain`` undo the round and begin the next one.

        :raises SchemaChanged: if the last round asked for another one.
        :raises BackupError: what a step raised.
        """
        while True:
            try:
                return self._one_round(job, steps_of(job.round))
            except StartAgain as again:
                LOG.warning("job %s, round %d: %s", job.id, job.round, again.reason)
                undo_round(job.round)
                if job.round >= self._rounds:
                    raise SchemaChanged(
                        f"{again.reason}, in each of {self._rounds} rounds; repeat the backup "
                        "while the schema and the ring do not change"
                    ) from None
                self._pause(job.round)
                job = self._database.jobs.next_round(job.id)

    def _one_round(self, job: Job, steps: Sequence[Step]) -> Results:
        results = Results(self._database.jobs.step_results(job.id, job.round))
        for step in steps:
            if step.name in results:
                continue
            self._raise_if_cancelled()
            self._entered(step.phase or step.name)
            LOG.info("job %s: %s", job.id, step.name)
            result = encode(step.run(results))
            self._database.jobs.save_step(job.id, job.round, step.name, result)
            results.add(step.name, result)
        return results


def describe(error: BackupError) -> str:
    """Return the text that a record shows for ``error``."""
    text = "cancelled on request" if isinstance(error, Cancelled) else str(error)
    text = text.replace("\0", "\\0")  # no database takes it
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


@contextmanager
def tolerated(what: str) -> Iterator[None]:
    """Log an error of a part of a clean-up, so that it keeps no other part from being done.

    An outage of the database, the end of this process, or the loss of the job to another
    conductor ends the clean-up: it is repeated.
    """
    try:
        yield
    except (DatabaseUnavailable, OwnershipLost, GivenUp):
        raise
    except BackupError as error:
        LOG.warning("%s failed: %s: %s", what, error.code, error)
    except Exception:
        LOG.exception("%s failed", what)
