# SPDX-License-Identifier: Apache-2.0
"""The worker's own identity: an ID kept in the state directory, owned by one process."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from magnetodb_backup import disk
from magnetodb_backup.errors import AccessDenied, Conflict


class WorkerIdentity:
    """Holds the worker's ID and the lock that proves that no other process uses it.

    :raises Conflict: if another worker runs with this state directory.
    :raises AccessDenied: if the directory cannot be written.
    """

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / "worker_id"
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise AccessDenied(
                f"the state directory {state_dir} cannot be used ({error.strerror}); "
                "create it for the worker's user or set state_dir"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise Conflict(
                f"another worker already runs with the state directory {state_dir}; "
                "give each worker a state_dir of its own"
            ) from None
        text = os.read(self._file, 100).decode(errors="replace").strip()
        if not text:
            text = str(uuid.uuid4())
            os.write(self._file, text.encode())
            disk.sync(self._file)
            disk.sync_directory(state_dir)
        self.worker_id = text

    def close(self) -> None:
        """Give the ID up for another process."""
        os.close(self._file)
