# SPDX-License-Identifier: Apache-2.0
"""The README's first command, without its set-up."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.ports import listens

_CHECKOUT = Path(__file__).resolve().parents[2]
_CQL = ("127.76.0.1", 9042)


def _quickstart(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.quickstart", *arguments],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def kept() -> Iterator[str]:
    """Run the tour, leave it running, and end it afterwards."""
    result = _quickstart("--keep")
    assert result.returncode == 0, result.stdout + result.stderr
    yield result.stdout
    ended = _quickstart("--stop")
    assert ended.returncode == 0, ended.stderr
    assert not listens(*_CQL)
    assert not (_CHECKOUT / ".quickstart").exists()


def test_second_backup_uploads_little(kept: str) -> None:
    found = re.search(r"first backup uploaded ([0-9.]+) MB; .* uploaded ([0-9.]+) MB", kept)
    assert found
    first, second = map(float, found.groups())
    assert first > 10
    assert 0 < second < first / 20
    assert len(re.findall(r"\| problems +\| \[\]", kept)) == 3
    assert "Traceback" not in kept


def test_dropped_table_is_back(kept: str) -> None:
    dropped = re.search(r"dropping the table shop.orders, which has (20400 rows \(\S+ \S+\))", kept)
    assert dropped
    assert "left in shop: people\n" in kept
    assert f"shop.orders is back: {dropped[1]}, every row" in kept
    assert "1 of 1 table restored on 1 node: " in kept


def test_expired_backups_free_their_bytes(kept: str) -> None:
    found = re.search(r"the store had ([0-9.]+) MB of packs, and has ([0-9.]+) MB", kept)
    assert found
    before, after = map(float, found.groups())
    assert after < before / 1.8  # all rows were replaced once


def test_commands_that_it_prints_work(kept: str) -> None:
    commands = [line.strip() for line in kept.splitlines() if line.startswith("  /")]
    assert any(" backup create " in command for command in commands)
    ours = [c for c in commands if c.endswith((" --wait", " status")) or " backup show " in c]
    assert any(" restore create " in command for command in ours)
    assert len(ours) == 4
    for command in ours:
        result = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
    (url,) = re.findall(r"curl (\S+)", kept)
    with urllib.request.urlopen(url, timeout=10) as answer:
        names = {backup["name"] for backup in json.load(answer)["backups"]}
    assert any(name.startswith("nightly-") for name in names)


def test_second_quickstart_is_refused(kept: str) -> None:
    result = _quickstart()
    assert result.returncode == 1
    assert "a quickstart runs; end it by tools/quickstart.sh --stop" in result.stderr
