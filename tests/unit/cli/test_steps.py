# SPDX-License-Identifier: Apache-2.0
"""The list of a job's steps follows the phases that its record shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magnetodb_backup.cli.steps import State, StepList, steps_of_backup, steps_of_restore
from magnetodb_backup.domain.backup.status import Phase
from magnetodb_backup.domain.restore.records import OFFLINE_PHASES, RestorePhase
from tests.unit.domain.samples import BACKUP, RESTORE

TEXTS = {"resolve": "choose", "upload": "upload", "commit": "write"}


def states(steps: StepList) -> list[tuple[str, str, float | None]]:
    return [(step.name, step.state.value, step.seconds) for step in steps.steps]


def test_steps_behind_are_done_and_steps_ahead_are_to_do() -> None:
    steps = StepList(TEXTS)
    assert {state for _, state, _ in states(steps)} == {"to do"}
    steps.at("resolve", 10.0)
    steps.at("upload", 12.0)
    steps.at("upload", 15.0)
    assert states(steps) == [
        ("resolve", "done", 2.0), ("upload", "running", 3.0), ("commit", "to do", None),
    ]  # fmt: skip


def test_a_step_that_no_look_met_has_no_time() -> None:
    steps = StepList(TEXTS)
    steps.at("resolve", 1.0)
    steps.at("commit", 2.0)
    assert states(steps)[1] == ("upload", "done", None)


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_the_step_that_ran_last_has_the_end(end: State) -> None:
    steps = StepList(TEXTS)
    steps.at("upload", 1.0)
    steps.at("upload", 4.0, end)
    assert states(steps) == [
        ("resolve", "done", None), ("upload", end.value, 3.0), ("commit", "to do", None),
    ]  # fmt: skip


def test_success_ends_all_steps() -> None:
    steps = StepList(TEXTS)
    steps.at("upload", 1.0)
    steps.at("upload", 2.0, State.DONE)
    assert {state for _, state, _ in states(steps)} == {"done"}


def test_another_round_begins_with_an_earlier_step() -> None:
    steps = StepList(TEXTS)
    steps.at("resolve", 1.0)
    steps.at("commit", 2.0)
    steps.at("resolve", 3.0)
    assert [state for _, state, _ in states(steps)] == ["running", "to do", "to do"]
    steps.at("upload", 4.0)
    steps.at("commit", 6.0)
    steps.at("commit", 7.0)
    assert states(steps)[1:] == [("upload", "done", 2.0), ("commit", "running", 1.0)]


def test_a_step_of_another_version_is_shown() -> None:
    steps = StepList(TEXTS)
    steps.at("collect", 1.0)
    assert states(steps)[-1] == ("collect", "running", 0.0)


def test_steps_of_backups() -> None:
    with_fingerprints = list(steps_of_backup(replace(BACKUP, figures=True)))
    assert with_fingerprints == [phase.value for phase in Phase]
    without = list(steps_of_backup(replace(BACKUP, figures=False)))
    assert without == [name for name in with_fingerprints if not name.startswith("figures")]


def test_steps_of_restores() -> None:
    def steps(*, offline: bool = False, check: bool = True, dry_run: bool = False) -> list[str]:
        asked = replace(RESTORE.request, offline=offline, check=check, dry_run=dry_run)
        return list(steps_of_restore(replace(RESTORE, request=asked)))

    everything = [phase.value for phase in RestorePhase]
    offline = {phase.value for phase in OFFLINE_PHASES}
    assert steps() == [name for name in everything if name not in offline]
    assert steps(offline=True) == [name for name in everything if name != "import"]
    assert "check" not in steps(check=False)
    assert steps(dry_run=True) == ["select", "census", "preflight"]
