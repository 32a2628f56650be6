# SPDX-License-Identifier: Apache-2.0
"""One node with an empty disk and an empty store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.repository.disk import Disk
from tests.unit.repository.stages import Stage
from tests.unit.repository.stores import Store


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path, Store())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
