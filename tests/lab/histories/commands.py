# SPDX-License-Identifier: Apache-2.0
"""What operations are in Cassandra: CQL statements, and actions by its management interface."""

from __future__ import annotations

from dataclasses import dataclass


class Action:
    """What is no CQL statement."""

    FLUSH = "flush"
    COMPACT = "compact"
    DROP_LEAVING_FILES = "drop, leaving files"


@dataclass(frozen=True)
class Command:
    """A CQL statement or, with a ``table``, one of the actions on it."""

    text: str
    table: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.table}".strip()
