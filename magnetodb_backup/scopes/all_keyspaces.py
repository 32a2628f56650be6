# SPDX-License-Identifier: Apache-2.0
"""The scope ``all``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.domain.tables import ClusterSchema, Selection
from magnetodb_backup.scopes.selecting import backed_up, only, selection

# Traces are for looking at within a day; a restore of them helps nobody.
_LEFT_OUT = frozenset({"system_traces"})


class AllKeyspaces:
    """All keyspaces, those of Cassandra that are worth keeping included.

    Left out are the virtual ones, those local to a node, and system_traces; system_auth and
    system_distributed remain.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        only(parameters, "all", ())

    def select(self, schema: ClusterSchema) -> Selection:
        """Return all tables of these keyspaces; EmptySelection if there is none."""
        keyspaces = [k for k in schema.keyspaces if backed_up(k) and k.name not in _LEFT_OUT]
        return selection(keyspaces, (t for k in keyspaces for t in schema.tables_of(k.name)))
