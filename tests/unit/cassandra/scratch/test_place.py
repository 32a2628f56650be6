# SPDX-License-Identifier: Apache-2.0
"""The directory of a scratch Cassandra: whose it is, and what becomes of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from magnetodb_backup.errors import Cancelled, ScratchFailed
from tests.lab.processes import wait_for
from tests.unit.cassandra.scratch.scratching import Scratching, never, runs

_DYING = """
import os, sys
from pathlib import Path
from tests.unit.cassandra.scratch.scratching import Scratching, never
with Scratching(Path(sys.argv[1])).scratch().home(never) as home, home.node(never, lenient=False):
    os.kill(os.getpid(), 9)
"""


def test_worker_that_dies_leaves_nothing_for_long(scratching: Scratching, tmp_path: Path) -> None:
    """The next one ends the process and removes the files, even before it is asked to verify."""
    dying = [sys.executable, "-c", _DYING, str(tmp_path)]
    died = subprocess.run(dying, timeout=120, cwd=Path(__file__).parents[4])
    assert died.returncode == -9
    (call,) = scratching.java.called()
    assert runs(call["pid"])
    assert len(scratching.left()) == 1
    scratching.scratch().sweep()
    wait_for(lambda: not runs(call["pid"]), deadline=30, what="the end of the process")
    assert scratching.left() == []


def test_foreign_process_with_a_recorded_id_lives(scratching: Scratching) -> None:
    """After a restart of the machine the ID may be that of any process."""
    home = scratching.path / f"scratch-{'a' * 32}"
    home.mkdir(parents=True, mode=0o700)
    scratching.path.chmod(0o700)
    (home / "pid-cassandra").write_text(f"{os.getpid()}\n")
    (home / "pid-verifier").write_text("")
    scratching.scratch().sweep()
    assert scratching.left() == []


def test_sweep_keeps_what_a_live_worker_uses(scratching: Scratching) -> None:
    with scratching.scratch().home(never):
        scratching.scratch().sweep()
        assert len(scratching.left()) == 1
    (scratching.path / "other").mkdir()  # not ours
    scratching.scratch().sweep()
    assert scratching.left() == ["other"]


def test_sweep_before_the_first_use(scratching: Scratching) -> None:
    scratching.scratch().sweep()
    assert not scratching.path.exists()


def test_one_place_at_a_time(scratching: Scratching) -> None:
    waited: list[int] = []

    def give_up() -> None:
        waited.append(1)
        if len(waited) > 1:
            raise Cancelled("enough")

    with (
        scratching.scratch().home(never),
        pytest.raises(Cancelled),
        scratching.scratch().home(give_up),
    ):
        pass
    with (scratching.path / "lock").open("rb") as lock:  # and it is free afterwards
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_directory_that_others_can_enter(scratching: Scratching, mode: int) -> None:
    scratching.path.mkdir()
    scratching.path.chmod(mode)
    with (
        pytest.raises(ScratchFailed, match="that others cannot enter"),
        scratching.scratch().home(never),
    ):
        pass


def test_directory_that_is_a_link(scratching: Scratching, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    scratching.path.symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(ScratchFailed, match="must be a directory"),
        scratching.scratch().home(never),
    ):
        pass


@pytest.mark.parametrize("address", ["10.0.0.1", "0.0.0.0", "node1"])
def test_address_that_others_can_reach(scratching: Scratching, address: str) -> None:
    with (
        pytest.raises(ScratchFailed, match=f"address is {address}; use a loopback address"),
        scratching.scratch(address=address).home(never),
    ):
        pass


def test_address_that_cannot_be_used(scratching: Scratching) -> None:
    with (
        scratching.scratch(address="::1").home(never) as home,
        pytest.raises(ScratchFailed, match=r"::1 cannot be used.*correct \[scratch\] address"),
        home.node(never, lenient=False),
    ):
        pass
