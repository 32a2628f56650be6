# SPDX-License-Identifier: Apache-2.0
"""/ and the OpenAPI document."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import document


class Versions:
    """What can be talked to; open to everybody."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {
            "name": "magnetodb-backup",
            "version": self._tools.version,
            "versions": [
                {
                    "id": "v1",
                    "status": "CURRENT",
                    "links": [{"rel": "self", "href": f"{request.prefix}/v1"}],
                }
            ],
        }

    def on_get_document(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = document()
