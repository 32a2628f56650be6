# SPDX-License-Identifier: Apache-2.0
"""/v1/restores."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.handlers.paging import page
from magnetodb_backup.api.schemas.document import read_body
from magnetodb_backup.domain.restore.records import RestoreRequest
from magnetodb_backup.domain.restore.views import restore_view

_ALL = "/v1/restores"


class Restores:
    """The collection."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Record a restore; 202."""
        self._tools.allow(request, "restores:create")
        body = read_body(request, _ALL)
        restore = self._tools.requests.create_restore(RestoreRequest.from_json(body))
        response.status = falcon.HTTP_202
        response.location = f"{request.root_path}{_ALL}/{restore.id}"
        response.media = restore_view(restore)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return a page of restores, with a link to the next one."""
        self._tools.allow(request, "restores:list")
        response.media = page(
            request,
            _ALL,
            max_limit=self._tools.max_limit,
            read=self._tools.database.restores.list,
            view=restore_view,
        )


class Restore:
    """One restore."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response, restore_id: str) -> None:
        """Return the record, its plan, its tables and its nodes."""
        self._tools.allow(request, "restores:get")
        restores = self._tools.database.restores
        restore = restores.get(restore_id)
        response.media = restore_view(restore, restores.node_restores(restore.id))

    def on_post_cancel(
        self, request: falcon.Request, response: falcon.Response, restore_id: str
    ) -> None:
        """Request the cancellation; 202."""
        self._tools.allow(request, "restores:cancel")
        response.status = falcon.HTTP_202
        response.media = restore_view(self._tools.requests.cancel_restore(restore_id))
