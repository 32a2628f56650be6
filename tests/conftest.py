# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a catalogue with a clock, and the plugins of the lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# Chooses the threading back end as every process does, before a test module can import a library
# that would choose another one for all of them.
import magnetodb_backup.cmd.threading_backend  # noqa: F401
from magnetodb_backup.database import Database
from tests.lab.catalogue import Clock, catalogue
from tests.unit.domain.samples import REPORT

pytest_plugins = ["tests.lab.measuring", "tests.lab.balance", "tests.lab.servers"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A catalogue in which one worker has reported a cluster."""
    with catalogue(tmp_path) as made:
        made.nodes.report(REPORT)
        yield made
