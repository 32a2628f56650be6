# SPDX-License-Identifier: Apache-2.0
"""A scope of one's own: all keyspaces whose name matches a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from magnetodb_backup.domain.tables import ClusterSchema, Selection
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.scopes.selecting import backed_up, only, selection


class Matching:
    """``{"type": "matching", "pattern": "tenant_*"}``."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        only(parameters, "matching", ("pattern",))
        pattern = parameters.get("pattern")
        if not isinstance(pattern, str):
            raise InvalidValue("the scope 'matching' needs 'pattern': a text such as \"tenant_*\"")
        self._pattern = pattern

    def select(self, schema: ClusterSchema) -> Selection:
        keyspaces = [
            k for k in schema.keyspaces if backed_up(k) and fnmatchcase(k.name, self._pattern)
        ]
        return selection(keyspaces, (t for k in keyspaces for t in schema.tables_of(k.name)))
