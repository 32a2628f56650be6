# SPDX-License-Identifier: Apache-2.0
"""What a scope does: the interface of the ``magnetodb_backup.scopes`` plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from magnetodb_backup.domain.tables import ClusterSchema, Selection


class Scope(Protocol):
    """Selects tables. Made from the request's parameters, without any access to a cluster."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Check the parameters of the request's ``scope`` object (``type`` left out).

        :raises InvalidValue: naming the wrong parameter and what is right.
        """

    def select(self, schema: ClusterSchema) -> Selection:
        """Return the tables to back up, ordered by keyspace and name.

        :raises UnknownTable: naming all keyspaces and tables that do not exist.
        :raises EmptySelection: if nothing is selected.
        """
