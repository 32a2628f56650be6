# SPDX-License-Identifier: Apache-2.0
"""The fixture of the tests of a scratch Cassandra."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cassandra.scratch.scratching import Scratching


@pytest.fixture
def scratching(tmp_path: Path) -> Scratching:
    return Scratching(tmp_path)
