# SPDX-License-Identifier: Apache-2.0
"""The stored results of the steps that apply a retention policy, one class a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Expired:
    """A backup that the policy let expire, and why."""

    backup_id: str
    why: str


@dataclass(frozen=True)
class Decided:
    """Step *decide*: the backups that expire, the oldest first, and how many are kept.

    ``later`` counts expired ones beyond those of one job; the next job deletes them.
    """

    step: ClassVar[str] = "decide"

    expired: tuple[Expired, ...]
    kept: int
    later: int = 0


@dataclass(frozen=True)
class Left:
    """An expired backup whose deletion was refused, and why."""

    backup_id: str
    why: str


@dataclass(frozen=True)
class DeletionsRecorded:
    """Step *delete*: the IDs of the backups whose deletion is recorded, and those that are left."""

    step: ClassVar[str] = "delete"

    deleted: tuple[str, ...]
    left: tuple[Left, ...] = ()
