# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs, on a small part of its sets; how long it takes is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_CHECKOUT = Path(__file__).resolve().parents[2]


def _run_scaled(name: str, scale: float) -> dict[str, Any]:
    """Run a benchmark once, on a part of its data; return its record."""
    return _run(name, "--rounds", "1", "--scale", str(scale))


def _run(name: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark; return its record."""
    result = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def test_upload_against_swift_upload() -> None:
    large, small = _run_scaled("upload", 0.04)["sets"]
    assert (large["name"], small["name"]) == ("sstables", "small")
    for data in (large, small):
        for upload in data["uploads"].values():
            for cost in upload["median"].values():
                assert all(value > 0 for value in cost.values()), cost
            assert upload["times_faster"]["min"] <= upload["times_faster"]["max"]
    first = small["uploads"]["first"]["median"]
    assert first["swift upload"]["requests"] > small["files"]
    assert first["magnetodb-backup"]["requests"] < 20


def test_download_against_a_bare_transfer() -> None:
    large, small = _run_scaled("restore", 0.04)["sets"]
    assert (large["name"], small["name"]) == ("sstables", "small")
    for data in (large, small):
        assert data["median"]["ours"]["requests"] >= data["median"]["bare"]["requests"] > 0
        assert data["ratio"]["min"] <= data["ratio"]["median"] <= data["ratio"]["max"]


def test_backup_of_many_nodes() -> None:
    """Each node costs one call per step; the ends of tasks come as messages."""
    record = _run("thousand_nodes", "--workers", "20", "--seconds", "0.5")
    assert record["calls"]["start_task"] == 4 + 4 * 20  # four tasks of one node, four of all
    assert set(record["steps"]) == {"prepare", "snapshot", "upload", "release"}
    assert record["peak_memory"] > 0


@pytest.mark.nightly
def test_time_until_a_table_is_readable() -> None:
    """The benchmark itself compares every row with what was written, as test_restore does."""
    record = _run_scaled("readable", 0.01)
    phases = record["phases"]
    assert {"download", "schema", "import", "all"} <= set(phases)
    assert phases["all"] > phases["download"] > 0
    assert record["bare"] > 0
