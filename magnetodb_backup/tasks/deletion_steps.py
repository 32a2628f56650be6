# SPDX-License-Identifier: Apache-2.0
"""The stored results of the steps of deletions and undeletions, one class a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class DeletionDecided:
    """Step *decide*: the times of a deletion (ISO 8601), the same for each conductor that runs it.

    ``undelete_until`` is empty if the backup has no manifest that an undeletion could write again.
    """

    step: ClassVar[str] = "decide"

    deleted_at: str
    undelete_until: str = ""


@dataclass(frozen=True)
class ManifestSetAside:
    """Step *set_aside*: the times that are stored with the manifest.

    ``undelete_until`` is empty if nothing is set aside.
    """

    step: ClassVar[str] = "set_aside"

    deleted_at: str
    undelete_until: str = ""


@dataclass(frozen=True)
class ManifestRemoved:
    """Step *remove*: the backup manifest, the commit marker, is gone."""

    step: ClassVar[str] = "remove"

    objects_removed: int


@dataclass(frozen=True)
class ManifestsPurged:
    """Step *purge*: the rest is gone too, unless the backup can be undeleted."""

    step: ClassVar[str] = "purge"

    purged: bool
    objects_removed: int = 0


@dataclass(frozen=True)
class ManifestPutBack:
    """Step *put_back*: the backup manifest is written again; what it says about its backup."""

    step: ClassVar[str] = "put_back"

    status: str
    committed_at: str


@dataclass(frozen=True)
class Undeleted:
    """Step *record*: the backup's record has its former status again."""

    step: ClassVar[str] = "record"

    status: str


@dataclass(frozen=True)
class AsideRemoved:
    """Step *forget*: what was set aside is removed."""

    step: ClassVar[str] = "forget"
