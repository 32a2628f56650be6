# SPDX-License-Identifier: Apache-2.0
"""The scope ``tables``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magnetodb_backup.domain.tables import ClusterSchema, Selection, TableName
from magnetodb_backup.errors import UnknownTable
from magnetodb_backup.scopes.selecting import (
    hint_of,
    look_up_keyspaces,
    names,
    only,
    selection,
)


class Tables:
    """A list of tables (column families) of any keyspaces: ``{"tables": ["k.t", "k2.T"]}``."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        only(parameters, "tables", ("tables",))
        self._wanted = [TableName.parse(n) for n in names(parameters, "tables", "tables")]

    def select(self, schema: ClusterSchema) -> Selection:
        """Return the tables.

        :raises UnknownTable: naming all that do not exist or cannot be backed up.
        """
        keyspaces = look_up_keyspaces(schema, [t.keyspace for t in self._wanted])
        existing = {t.name: t for t in schema.tables}
        wrong = [
            f"table {name} does not exist"
            + hint_of(name.table, [t.table for t in existing if t.keyspace == name.keyspace])
            for name in dict.fromkeys(self._wanted)
            if name not in existing
        ]
        if wrong:
            raise UnknownTable("; ".join(wrong))
        return selection(keyspaces.values(), (existing[name] for name in self._wanted))
