# SPDX-License-Identifier: Apache-2.0
"""/v1/backups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from magnetodb_backup.api.handlers.collection import Collection, Noun, accept
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import read_body, read_query
from magnetodb_backup.domain.as_of import parse_as_of
from magnetodb_backup.domain.backup.findings import MOST_FINDINGS
from magnetodb_backup.domain.backup.records import Backup as BackupRecord
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.views import backup_view, job_view, node_backup_view
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.errors import NotFound

_BACKUP, _VERIFY, _KEEP = (f"/v1/backups/{{id}}{end}" for end in ("", "/verify", "/keep"))


def backups(tools: Tools) -> Collection[BackupRecord]:
    """Return the handler of the collection."""
    return Collection(
        tools,
        Noun(
            plural="backups",
            create=lambda body: tools.requests.create_backup(_request(body)),
            read=tools.database.backups.list,
            view=backup_view,
        ),
    )


def _request(body: Mapping[str, Any]) -> BackupRequest:
    return BackupRequest(**{**body, "data_centers": tuple(body.get("data_centers", ()))})


class Backup:
    """One backup."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response, backup_id: str) -> None:
        """Return the record."""
        self._tools.allow(request, "backups:get")
        database = self._tools.database
        backup = database.backups.get(backup_id)
        response.media = backup_view(
            backup,
            proofs=database.proofs.of(backup.id),
            findings=database.findings.of_backup(backup.id, MOST_FINDINGS),
        )

    def on_delete(self, request: falcon.Request, response: falcon.Response, backup_id: str) -> None:
        """Request the deletion; 202."""
        self._tools.allow(request, "backups:delete")
        query = read_query(request, _BACKUP, "delete")
        accept(response, backup_view(self._tools.requests.delete_backup(backup_id, **query)))

    def on_post_keep(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Keep the backup for ever; return it."""
        self._tools.allow(request, "backups:keep")
        reason = str(read_body(request, _KEEP)["reason"])
        response.media = backup_view(self._tools.requests.keep_backup(backup_id, reason))

    def on_post_unkeep(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Keep the backup no longer than the policy does; return it."""
        self._tools.allow(request, "backups:keep")
        response.media = backup_view(self._tools.requests.unkeep_backup(backup_id))

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
        accept(response, backup_view(self._tools.requests.cancel_backup(backup_id)))

    def on_post_undelete(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Request the undeletion; 202."""
        self._tools.allow(request, "backups:undelete")
        accept(response, backup_view(self._tools.requests.undelete_backup(backup_id)))

    def on_post_verify(
        self, request: falcon.Request, response: falcon.Response, backup_id: str
    ) -> None:
        """Request a verification; 202."""
        self._tools.allow(request, "backups:verify")
        body = read_body(request, _VERIFY)
        job = self._tools.requests.verify_backup(
            backup_id,
            read_data=bool(body.get("read_data", False)),
            rungs=body.get("rungs", ()),
            sample=body.get("sample"),
            seed=body.get("seed"),
            as_of=parse_as_of(body["as_of"]) if "as_of" in body else None,
        )
        accept(response, job_view(job))

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
