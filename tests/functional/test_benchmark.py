# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs, on a small part of its sets; how long it takes is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]


def test_upload_against_swift_upload() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.upload", "--rounds", "1", "--scale", "0.04"],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    large, small = json.loads(result.stdout)["sets"]
    assert (large["name"], small["name"]) == ("sstables", "small")
    for data in (large, small):
        for upload in data["uploads"].values():
            for cost in upload["median"].values():
                assert all(value > 0 for value in cost.values()), cost
            assert upload["times_faster"]["min"] <= upload["times_faster"]["max"]
    first = small["uploads"]["first"]["median"]
    assert first["swift upload"]["requests"] > small["files"]
    assert first["magnetodb-backup"]["requests"] < 20
