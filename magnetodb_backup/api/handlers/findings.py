# SPDX-License-Identifier: Apache-2.0
"""/v1/findings."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import read_query
from magnetodb_backup.domain.backup.views import finding_view

_PATH = "/v1/findings"


class Findings:
    """The damage that verifications found."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return the open findings, or all, newest first."""
        self._tools.allow(request, "findings:list")
        query = read_query(request, _PATH)
        limit = min(query.get("limit", self._tools.max_limit), self._tools.max_limit)
        findings = self._tools.database.findings.list(
            cluster=query.get("cluster"), healed=query.get("status") == "all", limit=limit
        )
        response.media = {"findings": [finding_view(f) for f in findings]}
