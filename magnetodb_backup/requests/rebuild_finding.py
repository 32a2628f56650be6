# SPDX-License-Identifier: Apache-2.0
"""What a rebuild of the catalogue did about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

ADDED, WOULD_BE_ADDED = "added", "would be added"


@dataclass(frozen=True)
class Finding:
    """What the rebuild did about one backup or setting; ``doubtful`` if it needs attention.

    Of an unreadable one that is not recorded, only ID and cluster are known. ``kind`` is
    ``backup``, or the kind of a setting; a mark has the ID of its backup.
    """

    id: str
    cluster: str
    result: str
    doubtful: bool = False
    name: str = ""
    status: str = ""
    created_at: datetime | None = None
    kind: str = "backup"
