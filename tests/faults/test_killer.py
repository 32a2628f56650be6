# SPDX-License-Identifier: Apache-2.0
"""Kills at random lose nothing that was CREATED, and leave nothing on any node."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults.killer import Killer
from tests.lab.rig import Rig


@pytest.fixture
def prey(rig: Rig) -> Iterator[Rig]:
    rig.heal()
    yield rig
    rig.heal()


def test_random_kills(prey: Rig) -> None:
    figures = Killer(prey, kills=10, seed=20261201).run()
    assert sum(figures["kills"].values()) == 10


@pytest.mark.nightly
def test_very_many_random_kills(prey: Rig) -> None:
    """``test_random_kills`` kills ten times for each commit; each run here has its own seed."""
    figures = Killer(prey, kills=200, seed=random.SystemRandom().randrange(1 << 32)).run()
    assert sum(figures["kills"].values()) == 200
