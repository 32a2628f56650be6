# SPDX-License-Identifier: Apache-2.0
"""/v1/restores."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.collection import Collection, Noun, accept
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.domain.restore.records import Restore as RestoreRecord
from magnetodb_backup.domain.restore.records import RestoreRequest
from magnetodb_backup.domain.restore.views import restore_view


def restores(tools: Tools) -> Collection[RestoreRecord]:
    """Return the handler of the collection."""
    return Collection(
        tools,
        Noun(
            plural="restores",
            create=lambda body: tools.requests.create_restore(RestoreRequest.from_json(body)),
            read=tools.database.restores.list,
            view=restore_view,
        ),
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
        accept(response, restore_view(self._tools.requests.cancel_restore(restore_id)))
