# SPDX-License-Identifier: Apache-2.0
"""Watches the room on the disks that Cassandra writes to."""

from __future__ import annotations

from collections.abc import Iterable

from magnetodb_backup.domain.ring import DirectorySpace
from magnetodb_backup.errors import NoSpace


def check_head_room(spaces: Iterable[DirectorySpace], percent: float) -> None:
    """Raise unless ``percent`` of every data directory's file system is free.

    :raises NoSpace: naming the directory and both figures.
    """
    for space in spaces:
        if space.free * 100 < space.total * percent:
            raise NoSpace(
                f"data directory {space.path} has {space.free >> 20} MiB of "
                f"{space.total >> 20} MiB free, less than [worker] head_room_percent = "
                f"{percent:g}; free some room or lower the option"
            )
