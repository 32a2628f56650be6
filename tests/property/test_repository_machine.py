# SPDX-License-Identifier: Apache-2.0
"""Any order of backups, crashes, deletions, collections and losses leaves what was promised.

A backup whose packs nothing took away behind the service's back verifies and restores its exact
bytes, until it is destroyed; a deleted one can be undeleted. What was taken away is reported, and
stored again by the next backup if the node still has it. Once everything is destroyed and
collected, nothing is left. ``repository_machine.py`` and
``repository_harm.py`` have what may happen.
``test_broken_repository.py`` proves that a fault is found.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.repository_harm import RepositoryMachine

# A history that fails is reported at once: to shrink it takes an hour. print_blob repeats it.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        RepositoryMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=WITHOUT_SHRINKING,
            report_multiple_bugs=False,
        ),
    )


def test_any_history_of_a_repository() -> None:
    _run(examples=15, steps=25)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_any_long_history_of_a_repository() -> None:
    """``test_any_history_of_a_repository`` runs shorter and fewer histories for each commit."""
    _run(examples=1000, steps=50)
