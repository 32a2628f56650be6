# SPDX-License-Identifier: Apache-2.0
"""/v1/repository/growth/{cluster}."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import read_query
from magnetodb_backup.domain.backup.growth_views import growth_view

_PATH = "/v1/repository/growth/{cluster}"


class GrowthOfCluster:
    """How fast the backups of a cluster fill the store."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response, cluster: str) -> None:
        """Return the growth by table, and the forecast."""
        self._tools.allow(request, "growth:get")
        query = read_query(request, _PATH)
        found = self._tools.database.growth.growth(cluster, query.get("capacity"))
        response.media = growth_view(found)
