# SPDX-License-Identifier: Apache-2.0
"""/v1/repository/collections."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.collection import accept
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import read_body
from magnetodb_backup.domain.backup.views import collection_view
from magnetodb_backup.domain.jobs import JobKind
from magnetodb_backup.errors import NotFound

_PATH = "/v1/repository/collections"


class Collections:
    """The jobs that remove the packs that no backup needs."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Request a collection; 202."""
        self._tools.allow(request, "collections:create")
        body = read_body(request, _PATH)
        job = self._tools.requests.create_collection(
            body.get("cluster"),
            dry_run=body.get("dry_run", False),
            grace=body.get("grace"),
            repack=body.get("repack"),
            repack_minimum=body.get("repack_minimum"),
        )
        response.location = f"{request.root_path}{_PATH}/{job.id}"
        accept(response, collection_view(job))

    def on_get_one(
        self, request: falcon.Request, response: falcon.Response, collection_id: str
    ) -> None:
        """Return a collection's job and, at its end, what it found and removed."""
        self._tools.allow(request, "collections:get")
        job = self._tools.database.jobs.get(collection_id)
        if job.kind != JobKind.COLLECTION:
            raise NotFound(f"there is no collection {collection_id!r}")
        response.media = collection_view(job)
