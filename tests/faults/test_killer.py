# SPDX-License-Identifier: Apache-2.0
"""Kills at random lose nothing that was CREATED, and leave nothing on any node or in the store."""

from __future__ import annotations

import random

import pytest

from tests.faults.killer import Killer
from tests.faults.killing.prey import Prey


@pytest.mark.timeout(1500)
def test_random_kills(prey: Prey) -> None:
    figures = Killer(prey, kills=30, seed=20261201).run()
    assert sum(figures["kills"].values()) == 30


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_very_many_random_kills(prey: Prey) -> None:
    """``test_random_kills`` kills 30 times for each commit; each run here has its own seed."""
    figures = Killer(prey, kills=200, seed=random.SystemRandom().randrange(1 << 32)).run()
    assert sum(figures["kills"].values()) == 200
