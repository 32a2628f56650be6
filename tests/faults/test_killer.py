# SPDX-License-Identifier: Apache-2.0
"""Kills at random lose nothing that was CREATED, and leave nothing on any node or in the store."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults.killer import Killer
from tests.faults.killing.prey import Prey, prey_on
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.rig import Rig


@pytest.fixture(scope="module")
def prey(
    rig: Rig, keystone: Keystone, tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackBlock
) -> Iterator[Prey]:
    rig.heal()
    rig.deployment.stop()
    directory = tmp_path_factory.mktemp("prey")
    try:
        with prey_on(rig, keystone, directory, loopback.address(240)) as prey:
            yield prey
    finally:
        rig.heal()


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
