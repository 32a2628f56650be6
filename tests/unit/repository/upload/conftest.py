# SPDX-License-Identifier: Apache-2.0
"""The fixture of the tests of later uploads."""

from __future__ import annotations

import pytest

from tests.unit.repository.disk import (
    ONE_BY_ONE,
    PACK_SIZE,
    Disk,
    noise,
)
from tests.unit.repository.upload.earlier import backup_of


@pytest.fixture
def stored(disk: Disk) -> Disk:
    """A disk with a first backup: two packs of small files and three of a large one."""
    for number in range(20):
        disk.write(f"f{number:02d}", noise(number, PACK_SIZE // 10))
    disk.write("large", noise(99, 3 * PACK_SIZE))
    backup_of(disk, 1, **ONE_BY_ONE)
    disk.store.packs_put()
    disk.store.heads.clear()
    return disk
