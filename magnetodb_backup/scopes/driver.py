# SPDX-License-Identifier: Apache-2.0
"""The interface of scopes: plugins of ``magnetodb_backup.scopes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from magnetodb_backup.domain.tables import ClusterSchema, Selection


class Scope(Protocol):
    """Selects tables. Made from the request's parameters, without any access to a cluster."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Check the parameters of the request's ``scope`` object, without ``type``.

        :raises InvalidValue: naming the wrong parameter and the accepted values.
        """

    def select(self, schema: ClusterSchema) -> Selection:
        """Return the tables to back up, ordered by keyspace and name.

        :raises UnknownTable: naming all keyspaces and tables that do not exist.
        :raises EmptySelection: if nothing is selected.
        """
