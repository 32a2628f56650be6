# SPDX-License-Identifier: Apache-2.0
"""Records what really reaches the disk, and in which order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def recorded_disk_calls() -> Iterator[list[tuple[str, str]]]:
    """Yield a list of this thread's calls of fsync and rename, each with the path.

    The interpreter itself reports the calls, so nothing is replaced. A rename has the new path.
    """
    calls: list[tuple[str, str]] = []

    def on_call(frame: FrameType, event: str, called: object) -> None:
        if event != "c_call":
            return
        if called is os.fsync:
            descriptor = frame.f_locals["descriptor"]  # of disk.sync
            calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        elif called is os.replace or called is os.rename:
            calls.append(("rename", str(frame.f_locals["target"])))  # of pathlib

    before = sys.getprofile()
    sys.setprofile(on_call)
    try:
        yield calls
    finally:
        sys.setprofile(before)
