# SPDX-License-Identifier: Apache-2.0
"""The scope ``all``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.domain.tables import ClusterSchema, Selection
from magnetodb_backup.scopes.selecting import backed_up, only, selection

# Traces expire within a day; nothing needs them restored.
_LEFT_OUT = frozenset({"system_traces"})


class AllKeyspaces:
    """All keyspaces of the users, with ``system_auth`` and ``system_distributed``.

    Virtual keyspaces, keyspaces local to a node and ``system_traces`` are left out.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        only(parameters, "all", ())

    def select(self, schema: ClusterSchema) -> Selection:
        """Return all tables of these keyspaces.

        :raises EmptySelection: if they have no table.
        """
        keyspaces = [k for k in schema.keyspaces if backed_up(k) and k.name not in _LEFT_OUT]
        return selection(keyspaces, (t for k in keyspaces for t in schema.tables_of(k.name)))
