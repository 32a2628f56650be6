# SPDX-License-Identifier: Apache-2.0
"""Head-room on the disks that Cassandra writes to."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.ring import DirectorySpace
from magnetodb_backup.errors import NoSpace
from magnetodb_backup.worker.head_room import check_head_room

GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "percent"), [(100, 5), (5, 5), (6, 5), (0, 0), (100, 90), (50, 49.9)]
)
def test_enough_room(free: int, percent: float) -> None:
    check_head_room([DirectorySpace("/d", free * GIB, 100 * GIB)], percent)


@pytest.mark.parametrize(("free", "percent"), [(4, 5), (0, 0.1), (89, 90)])
def test_too_little_room(free: int, percent: float) -> None:
    spaces = [
        DirectorySpace("/first", 100 * GIB, 100 * GIB),
        DirectorySpace("/full", free * GIB, 100 * GIB),
    ]
    with pytest.raises(NoSpace) as failure:
        check_head_room(spaces, percent)
    told = str(failure.value)
    assert f"data directory /full has {free * 1024} MiB of 102400 MiB free" in told
    assert f"[worker] head_room_percent = {percent:g}" in told


def test_exactly_to_the_byte() -> None:
    check_head_room([DirectorySpace("/d", 50, 1000)], 5)
    with pytest.raises(NoSpace, match="data directory /d "):
        check_head_room([DirectorySpace("/d", 49, 1000)], 5)


def test_large_disks_are_computed_exactly() -> None:
    total = 10**18
    check_head_room([DirectorySpace("/d", total // 20, total)], 5)
