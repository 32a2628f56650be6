# SPDX-License-Identifier: Apache-2.0
"""Which state of the store a task of a restore reads."""

from __future__ import annotations

from typing import Any

from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.tasks.restore import RestoreTask


def store_of(task: RestoreTask[Any], storage: StorageDriver) -> StorageDriver:
    """Return the store as it was at the time that the task names, by default the present one."""
    return storage if task.as_of is None else storage.as_of(task.as_of)
