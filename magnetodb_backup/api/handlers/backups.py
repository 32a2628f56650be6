# SPDX-License-Identifier: Apache-2.0
"""/v1/backups."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.handlers.paging import page
from magnetodb_backup.api.schemas.document import read_body
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import JobKind
from magnetodb_backup.domain.backup.views import backup_view, job_view, node_backup_view
from magnetodb_backup.domain.jobs import Subject
from magnetodb_backup.errors import NotFound

_ALL, _VERIFY = "/v1/backups", "/v1/backups/{id}/verify"


class Backups:
    """The collection."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Record a backup; 202."""
        self._tools.allow(request, "backups:create")
        body = read_body(request, _ALL)
        backup = self._tools.requests.create_backup(BackupRequest(**body))
        response.status = falcon.HTTP_202
        response.location = f"{request.root_path}{_ALL}/{backup.id}"
        response.media = backup_view(backup)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return a page of backups, with a link to the next one."""
        self._tools.allow(request, "backups:list")
        response.media = page(
            request,
            _ALL,
            max_limit=self._tools.max_limit,
            read=self._tools.database.backups.list,
            view=backup_view,
        )


class Backup:
    """One backup."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response, backup_id: str) -> None:
        """Return the record."""
        self._tools.allow(request, "backups:get")
        response.media = backup_view(self._tools.database.backups.get(backup_id))

    def on_delete(self, request: falcon.Request, response: falcon.Response, backup_id: str) -> None:
        """Request the deletion; 202."""
        self._tools.allow(request, "backups:delete")
        response.status = falcon.HTTP_202
        response.media = backup_view(self._tools.requests.delete_backup(backup_id))

    def on_get_nodes(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Return the node backups."""
        self._tools.allow(request, "backups:get")
        backups = self._tools.database.backups
        nodes = backups.node_backups(backups.get(backup_id).id)
        response.media = {"nodes": [node_backup_view(n) for n in nodes]}

    def on_post_cancel(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Request the cancellation; 202."""
        self._tools.allow(request, "backups:cancel")
        response.status = falcon.HTTP_202
        response.media = backup_view(self._tools.requests.cancel_backup(backup_id))

    def on_post_verify(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Request a verification; 202."""
        self._tools.allow(request, "backups:verify")
        body = read_body(request, _VERIFY)
        job = self._tools.requests.verify_backup(
            backup_id, read_data=bool(body.get("read_data", False))
        )
        response.status = falcon.HTTP_202
        response.media = job_view(job)

    def on_get_verification(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Return the latest verification's job."""
        self._tools.allow(request, "backups:get")
        backup = self._tools.database.backups.get(backup_id)
        job = self._tools.database.jobs.latest(Subject.backup(backup.id), JobKind.VERIFICATION)
        if job is None:
            raise NotFound(f"backup {backup_id} was never verified; POST to its verify first")
        response.media = job_view(job)
