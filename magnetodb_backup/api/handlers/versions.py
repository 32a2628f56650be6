# SPDX-License-Identifier: Apache-2.0
"""/, /v1 and the OpenAPI document."""

from __future__ import annotations

from typing import Any

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import document


def _version(request: falcon.Request) -> dict[str, Any]:
    return {
        "id": "v1",
        "status": "CURRENT",
        "links": [
            {"rel": "self", "href": f"{request.prefix}/v1"},
            {"rel": "describedby", "href": f"{request.prefix}/v1/openapi.json"},
        ],
    }


class Versions:
    """The versions of the API; open to every caller."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return name, version and the APIs."""
        response.media = {
            "name": "magnetodb-backup",
            "version": self._tools.version,
            "versions": [_version(request)],
        }

    def on_get_version(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return this API."""
        response.media = {"version": _version(request)}

    def on_get_document(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return the OpenAPI document."""
        response.media = document()
