# SPDX-License-Identifier: Apache-2.0
"""Steps whose results are stored, and rounds."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from magnetodb_backup.conductor.job import Results, StartAgain, Step, StepRunner, describe
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.jobs import Job, JobKind, Subject
from magnetodb_backup.errors import Cancelled, NoSpace, SchemaChanged


@dataclass(frozen=True)
class Done:
    """What a step of the script returns: the steps before it, and its round."""

    seen: tuple[str, ...] = ()
    round: int = 1


@dataclass(frozen=True)
class A(Done):
    """The first step."""

    step: ClassVar[str] = "a"


@dataclass(frozen=True)
class B(Done):
    """The second step."""

    step: ClassVar[str] = "b"


@dataclass(frozen=True)
class C(Done):
    """The last step."""

    step: ClassVar[str] = "c"


Deed = Callable[[int, Results], Done]


class Script:
    """Steps a, b and c, which record that they ran."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.ran: list[str] = []
        self.entered: list[str] = []
        self.undone: list[int] = []
        self.checks = 0
        self.check: Callable[[], None] = lambda: None
        self.deeds: dict[str, Deed] = {}
        backup = database.backups.create(
            BackupRequest(scope={"type": "all"}), str(uuid.uuid4()), "c"
        )
        job = database.jobs.latest(Subject.backup(backup.id), JobKind.BACKUP)
        assert job is not None
        self.job_id = job.id

    @property
    def job(self) -> Job:
        return self._database.jobs.get(self.job_id)

    def steps(self, round_: int) -> Sequence[Step]:
        return [Step(name, lambda r, n=name: self._step(n, round_, r)) for name in "abc"]  # type: ignore[misc]

    def _step(self, name: str, round_: int, results: Results) -> Done:
        self.ran.append(f"{name}{round_}")
        deed = self.deeds.get(name)
        if deed:
            return deed(round_, results)
        return Done(tuple(n for n in "abc" if n in results), round_)

    def run(self, rounds: int = 3) -> Results:
        runner = StepRunner(
            self._database,
            raise_if_cancelled=self._raise_if_cancelled,
            entered=self.entered.append,
            rounds=rounds,
        )
        return runner.run(self.job, self.steps, self.undone.append)

    def _raise_if_cancelled(self) -> None:
        self.checks += 1
        self.check()


@pytest.fixture
def script(database: Database) -> Script:
    return Script(database)


def test_steps_run_in_order_and_see_earlier_results(script: Script) -> None:
    results = script.run()
    assert script.ran == ["a1", "b1", "c1"]
    assert script.entered == ["a", "b", "c"]
    assert results.of(C) == C(("a", "b"))
    assert script.checks == 3


def test_result_is_stored_before_the_next_step_begins(script: Script, database: Database) -> None:
    stored: list[list[str]] = []

    def look(round_: int, results: Results) -> Done:
        stored.append(sorted(database.jobs.step_results(script.job_id, 1)))
        return Done()

    script.deeds = {"a": look, "b": look, "c": look}
    script.run()
    assert stored == [[], ["a"], ["a", "b"]]


def test_failed_step_is_the_first_of_the_next_run(script: Script) -> None:
    def fail(round_: int, results: Results) -> Done:
        raise NoSpace("full")

    script.deeds["b"] = fail
    with pytest.raises(NoSpace):
        script.run()
    del script.deeds["b"]
    results = script.run()
    assert script.ran == ["a1", "b1", "b1", "c1"]
    assert results.of(B).seen == ("a",)


def test_finished_job_runs_nothing(script: Script) -> None:
    first = script.run()
    again = script.run()
    assert [again.of(kind) for kind in (A, B, C)] == [first.of(kind) for kind in (A, B, C)]
    assert script.ran == ["a1", "b1", "c1"]


def test_check_ends_it_between_steps(script: Script) -> None:
    def check() -> None:
        if script.checks == 2:
            raise Cancelled("enough")

    script.check = check
    with pytest.raises(Cancelled):
        script.run()
    assert script.ran == ["a1"]
    assert script.entered == ["a"]


def _again(rounds: int) -> Deed:
    def deed(round_: int, results: Results) -> Done:
        if round_ <= rounds:
            raise StartAgain("the schema changed")
        return Done(round=round_)

    return deed


def test_starting_again_runs_all_steps_anew(script: Script) -> None:
    script.deeds["b"] = _again(2)
    results = script.run()
    assert script.ran == ["a1", "b1", "a2", "b2", "a3", "b3", "c3"]
    assert script.undone == [1, 2]
    assert results.of(B).round == 3
    assert script.job.round == 3


@pytest.mark.parametrize("rounds", [1, 3])
def test_rounds_are_bounded(script: Script, rounds: int) -> None:
    script.deeds["c"] = _again(100)
    with pytest.raises(SchemaChanged) as failure:
        script.run(rounds)
    assert str(failure.value).startswith(f"the schema changed, in each of {rounds} rounds; repeat")
    assert script.undone == list(range(1, rounds + 1))
    assert script.job.round == rounds


def test_round_that_was_begun_is_gone_on_with(script: Script) -> None:
    script.deeds["b"] = _again(1)

    def check() -> None:
        if script.ran == ["a1", "b1", "a2"]:
            raise Cancelled("the process ends")

    script.check = check
    with pytest.raises(Cancelled):
        script.run()
    script.check = lambda: None
    script.run()
    assert script.ran == ["a1", "b1", "a2", "b2", "c2"]


def test_what_records_show_of_an_error() -> None:
    assert describe(NoSpace("the disk is full")) == "the disk is full"
    assert describe(Cancelled("stopped, because another node failed")) == "cancelled on request"
    assert describe(NoSpace("/d/\udcff\0 is Größe")) == "/d/\\udcff\\0 is Größe"
