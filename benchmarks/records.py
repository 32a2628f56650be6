# SPDX-License-Identifier: Apache-2.0
"""Runs that are kept, each with the circumstances that it was made in."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any


def circumstances(rounds: int) -> dict[str, Any]:
    """Return what a record begins with; ``load`` is what others did before the run began."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "version": version("magnetodb-backup"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "rounds": rounds,
    }


def add_record(path: Path, record: Mapping[str, Any]) -> None:
    """Add a record to a file of records."""
    runs = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*runs, record], indent=1) + "\n")
