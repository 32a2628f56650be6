# SPDX-License-Identifier: Apache-2.0
"""The cluster with sample data."""

from __future__ import annotations

import pytest

from tests.functional.sample import make_sample
from tests.lab.rig import Rig


@pytest.fixture(scope="session")
def sample(rig: Rig) -> Rig:
    make_sample(rig)
    return rig
