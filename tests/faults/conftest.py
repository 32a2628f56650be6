# SPDX-License-Identifier: Apache-2.0
"""A table to back up, and repair after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.sample import make_table
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
