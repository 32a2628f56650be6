# SPDX-License-Identifier: Apache-2.0
"""Finds a Java that Cassandra 4.1 and 5.0 run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

_SUITABLE = (17, 11)  # in order of preference


def _major(program: str) -> int:
    """Return the major version of a Java, 0 if it does not run."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', told.stderr)
    return int(found[1]) if found else 0


@cache
def archives_classes() -> bool:
    """Return whether the chosen Java can archive an application's classes by itself."""
    return _major(java()) >= 13


@cache
def java() -> str:
    """Return the path of a suitable Java: of JAVA_HOME, of PATH, or an installed one.

    :raises RuntimeError: naming those that were found, if none is suitable.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    if on_path := shutil.which("java"):
        candidates.append(on_path)
    candidates += sorted(str(p) for p in Path("/usr/lib/jvm").glob("*/bin/java"))
    versions = {program: _major(program) for program in dict.fromkeys(candidates)}
    for wanted in _SUITABLE:
        for program, version in versions.items():
            if version == wanted:
                return program
    seen = ", ".join(f"{p} is version {v}" for p, v in versions.items() if v) or "there is none"
    raise RuntimeError(
        f"Cassandra needs Java 17 or 11, but {seen}; install openjdk-17-jre-headless, or set "
        "JAVA_HOME"
    )
