# SPDX-License-Identifier: Apache-2.0
"""The scope ``keyspaces``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.domain.tables import ClusterSchema, Selection, parse_name
from magnetodb_backup.scopes.selecting import look_up_keyspaces, names, only, selection


class Keyspaces:
    """One keyspace or several: ``{"keyspaces": ["k1", "K2"]}``."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        only(parameters, "keyspaces", ("keyspaces",))
        self._wanted = [parse_name(n) for n in names(parameters, "keyspaces", "keyspaces")]

    def select(self, schema: ClusterSchema) -> Selection:
        """Return all tables of the keyspaces.

        :raises UnknownTable: naming all keyspaces that do not exist or cannot be backed up.
        :raises EmptySelection: if they have no table.
        """
        keyspaces = look_up_keyspaces(schema, self._wanted)
        return selection(
            keyspaces.values(), (t for name in keyspaces for t in schema.tables_of(name))
        )
