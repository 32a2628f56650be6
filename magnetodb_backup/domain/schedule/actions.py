# SPDX-License-Identifier: Apache-2.0
"""What a schedule starts, and what is verified by it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magnetodb_backup.domain.backup.proofs import Rung, rungs_of
from magnetodb_backup.domain.jobs import JobKind


class Action(str, enum.Enum):
    """What each run of a schedule starts, each with one word.

    BACKUP: a backup. VERIFY: verifications of complete backups. COLLECT: the removal of packs that
    no backup needs. EXPIRE: the deletion of the backups that retention keeps no longer.
    """

    BACKUP = "backup"
    VERIFY = "verify"
    COLLECT = "collect"
    EXPIRE = "expire"

    @property
    def job_kind(self) -> str:
        """The kind of the jobs that a run starts."""
        return _KINDS[self]


_KINDS = {
    Action.BACKUP: JobKind.BACKUP,
    Action.VERIFY: JobKind.VERIFICATION,
    Action.COLLECT: JobKind.COLLECTION,
    Action.EXPIRE: JobKind.RETENTION,
}


@dataclass(frozen=True)
class Verifying:
    """What a schedule verifies.

    ``rungs`` are those of a request for a verification. ``sample`` is the percentage of the packs
    that READ_DATA reads, None for all. With ``each_in``, a number of days, the samples of all runs
    of so many days read all data of each complete backup; ``sample`` follows from it then.
    """

    rungs: tuple[str, ...] = ()
    sample: float | None = None
    each_in: int | None = None

    @property
    def wanted(self) -> tuple[Rung, ...]:
        """The rungs in their order.

        :raises InvalidValue: for a name that is none.
        """
        reads = self.sample is not None or self.each_in is not None
        return rungs_of(self.rungs, read_data=reads and not self.rungs)

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, as they are stored."""
        return {**asdict(self), "rungs": list(self.rungs)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Verifying:
        """Return what is stored; fields that a newer version stored are left out."""
        return cls(tuple(stored.get("rungs", ())), stored.get("sample"), stored.get("each_in"))
