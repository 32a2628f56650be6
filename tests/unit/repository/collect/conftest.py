# SPDX-License-Identifier: Apache-2.0
"""A container with packs of which one is only needed by the older of two backups."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.repository.collect.depot import Depot
from tests.unit.repository.disk import PACK_SIZE, noise


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    """Backup 1 has a, b and c; backup 2 has b, c and d; 1 is deleted. A pack holds one file."""
    depot = Depot(tmp_path)
    for number, name in enumerate("abc"):
        depot.disk.write(name, noise(number, PACK_SIZE))
    depot.backup(1)
    (depot.disk.root / "a").unlink()
    depot.disk.write("d", noise(9, PACK_SIZE))
    depot.backup(2)
    return depot
