# SPDX-License-Identifier: Apache-2.0
"""The worker's ID, kept in its state directory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from magnetodb_backup.errors import AccessDenied, Conflict
from magnetodb_backup.worker.identity import WorkerIdentity


def test_identity_survives_a_restart(tmp_path: Path) -> None:
    first = WorkerIdentity(tmp_path)
    assert str(uuid.UUID(first.worker_id)) == first.worker_id
    first.close()
    second = WorkerIdentity(tmp_path)
    assert second.worker_id == first.worker_id
    second.close()


def test_each_state_directory_has_its_own(tmp_path: Path) -> None:
    one, two = WorkerIdentity(tmp_path / "one"), WorkerIdentity(tmp_path / "two")
    assert one.worker_id != two.worker_id
    one.close()
    two.close()


def test_state_directory_is_made(tmp_path: Path) -> None:
    WorkerIdentity(tmp_path / "a" / "b").close()
    file = tmp_path / "a" / "b" / "worker_id"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_second_worker_is_refused(tmp_path: Path) -> None:
    first = WorkerIdentity(tmp_path)
    with pytest.raises(Conflict, match=f"already runs with the state directory {tmp_path}; give"):
        WorkerIdentity(tmp_path)
    first.close()
    WorkerIdentity(tmp_path).close()


def test_identity_ends_with_its_process(tmp_path: Path) -> None:
    """Whatever way the process ends: nothing is left that keeps a successor out."""
    program = (
        "import os, sys, pathlib\n"
        "from magnetodb_backup.worker.identity import WorkerIdentity\n"
        "identity = WorkerIdentity(pathlib.Path(sys.argv[1]))\n"
        "print(identity.worker_id, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert outcome.returncode == -9
    identity = WorkerIdentity(tmp_path)
    assert identity.worker_id == outcome.stdout.strip()
    identity.close()


def test_process_that_died_before_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "worker_id").touch()
    identity = WorkerIdentity(tmp_path)
    assert uuid.UUID(identity.worker_id)
    identity.close()


def test_state_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AccessDenied) as failure:
        WorkerIdentity(tmp_path / "file")
    assert f"the state directory {tmp_path / 'file'} cannot be used" in str(failure.value)
    assert "set state_dir" in str(failure.value)
    assert len(os.listdir("/proc/self/fd")) == before
