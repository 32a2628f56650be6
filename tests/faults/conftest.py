# SPDX-License-Identifier: Apache-2.0
"""A table to back up, a deployment that restores, and repair after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import KEYSPACE, Bench, Saved, make_bench
from tests.faults.killing.prey import Prey, prey_on
from tests.functional.sample import make_table
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.rig import Rig


@pytest.fixture(scope="session")
def sampled(rig: Rig) -> Rig:
    make_table(rig, "faults.t")
    return rig


@pytest.fixture
def broken(sampled: Rig) -> Iterator[Rig]:
    """The rig with rows that no backup has yet; whatever the test breaks is repaired."""
    sampled.heal()
    sampled.insert_new("faults.t")
    yield sampled
    sampled.heal()
    sampled.wait_clean()


@pytest.fixture(scope="session")
def laid_out(rig: Rig, keystone: Keystone, lab: Path) -> Iterator[Bench]:
    with make_bench(rig, keystone, lab / "restores") as bench:
        bench.make_tables()
        yield bench


@pytest.fixture(scope="module")
def running(rig: Rig, laid_out: Bench) -> Iterator[Bench]:
    with laid_out.running_instead(rig):
        yield laid_out


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    """A deployment in which restores can be held; whatever the test breaks is repaired."""
    yield running
    running.heal()


@pytest.fixture(scope="module")
def saved(running: Bench) -> Saved:
    """A backup of the tables, with the rows that they have."""
    backup = running.rig.created("--keyspace", KEYSPACE)
    return Saved(backup["id"], running.rows())


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
