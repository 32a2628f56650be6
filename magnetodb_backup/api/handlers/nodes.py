# SPDX-License-Identifier: Apache-2.0
"""/v1/nodes."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.domain.backup.records import LIVE_WITHIN
from magnetodb_backup.domain.backup.views import node_view


class Nodes:
    """The nodes that workers report."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return every worker's last report."""
        self._tools.allow(request, "nodes:list")
        nodes = self._tools.database.nodes.list(live_within=LIVE_WITHIN)
        response.media = {"nodes": [node_view(n) for n in nodes]}
