# SPDX-License-Identifier: Apache-2.0
"""The kinds of jobs: one module and one line for each."""

from __future__ import annotations

from magnetodb_backup.conductor.backup.definition import BackupDefinition
from magnetodb_backup.conductor.collection.definition import Collection, Survey
from magnetodb_backup.conductor.definition import JobDefinition
from magnetodb_backup.conductor.deletion import Deletion, Undeletion
from magnetodb_backup.conductor.restore.definition import RestoreDefinition
from magnetodb_backup.conductor.verification.definition import Verification

DEFINITIONS: tuple[JobDefinition, ...] = (
    BackupDefinition(),
    RestoreDefinition(),
    Deletion(),
    Undeletion(),
    Verification(),
    Collection(),
    Survey(),
)
