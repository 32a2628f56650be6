# SPDX-License-Identifier: Apache-2.0
"""The WSGI application."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import Any

import falcon
from oslo_context.context import RequestContext
from oslo_middleware import healthcheck

from magnetodb_backup.api.guard import Guard
from magnetodb_backup.api.handlers.backups import Backup, backups
from magnetodb_backup.api.handlers.collections import Collections
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.handlers.findings import Findings
from magnetodb_backup.api.handlers.growth import GrowthOfCluster
from magnetodb_backup.api.handlers.nodes import Nodes
from magnetodb_backup.api.handlers.restores import Restore, restores
from magnetodb_backup.api.handlers.retention import Policies, Retention
from magnetodb_backup.api.handlers.schedules import Schedule, Schedules
from magnetodb_backup.api.handlers.versions import Versions
from magnetodb_backup.database import Database
from magnetodb_backup.errors import BackupError, Conflict, NotFound, Transient
from magnetodb_backup.requests.interface import Requests

LOG = logging.getLogger(__name__)
_RETRY_AFTER = "10"  # seconds


class _NoAuthentication:
    """Makes every caller an administrator, and gives every request an ID."""

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        request_id = f"req-{uuid.uuid4()}"
        request.context.request_id = request_id
        request.context.caller = RequestContext(
            user_id="noauth", roles=["admin"], is_admin=True, request_id=request_id
        )
        response.set_header("X-Openstack-Request-Id", request_id)


class _Log:
    """Logs a line for each request, with its ID, so that errors can be found."""

    def process_response(
        self, request: falcon.Request, response: falcon.Response, resource: object, succeeded: bool
    ) -> None:
        request_id = getattr(request.context, "request_id", "")
        LOG.info("%s %s %s: %s", request_id, request.method, request.path, response.status)


def _error(request: falcon.Request, code: int, title: str, message: str) -> dict[str, Any]:
    request_id = getattr(request.context, "request_id", "")
    error = {"code": code, "title": title, "message": message, "request_id": request_id}
    return {"error": error}


def _on_backup_error(
    request: falcon.Request, response: falcon.Response, error: BackupError, params: Any
) -> None:
    code, title = 400, "Bad Request"
    if isinstance(error, NotFound):
        code, title = 404, "Not Found"
    elif isinstance(error, Conflict):
        code, title = 409, "Conflict"
    elif isinstance(error, Transient):
        code, title = 503, "Service Unavailable"
        response.set_header("Retry-After", _RETRY_AFTER)
    response.status = falcon.code_to_http_status(code)
    response.media = _error(request, code, title, str(error))


def _on_unexpected(
    request: falcon.Request, response: falcon.Response, error: Exception, params: Any
) -> None:
    LOG.exception("%s %s failed", request.method, request.path)
    response.status = falcon.HTTP_500
    message = "an unexpected error; the service's log has it under this request's ID"
    response.media = _error(request, 500, "Internal Server Error", message)


def _serialize(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    title = error.status.partition(" ")[2] if isinstance(error.status, str) else str(error.status)
    message = error.description or error.title or title
    if isinstance(error, falcon.HTTPRouteNotFound):
        message = f"there is nothing at {request.path}; see /v1/openapi.json"
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        possible = dict(error.headers or {}).get("Allow", "nothing")
        message = f"{request.method} is not possible at {request.path}; possible: {possible}"
    response.content_type = falcon.MEDIA_JSON
    response.media = _error(request, error.status_code, title, message)


def _with_healthcheck(app: Any) -> Any:
    """Serve oslo.middleware's healthcheck beside ``app``; it answers every path."""
    health = healthcheck.Healthcheck.app_factory({})

    def dispatch(environ: dict[str, Any], start_response: Any) -> Any:
        chosen = health if environ.get("PATH_INFO") == "/healthcheck" else app
        return chosen(environ, start_response)

    return dispatch


def create_app(
    *,
    database: Database,
    requests: Requests,
    enforcer: Any,
    version: str,
    max_limit: int,
    host_names: Iterable[str] = (),
) -> Any:
    """Return the WSGI callable, with /healthcheck beside it.

    ``enforcer`` is an oslo.policy Enforcer with our rules; ``max_limit`` bounds a page;
    ``host_names`` are names of the API beside its addresses.
    """
    tools = Tools(database, requests, enforcer, version, max_limit)
    return _with_healthcheck(make_routes(tools, host_names))


def make_routes(
    tools: Tools, host_names: Iterable[str] = ()
) -> falcon.App[falcon.Request, falcon.Response]:
    """Return the application with all routes of the OpenAPI document except /healthcheck."""
    app = falcon.App(middleware=[_NoAuthentication()])
    app.add_middleware(_Log())
    app.add_middleware(Guard(host_names))
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, _on_unexpected)
    app.add_error_handler(BackupError, _on_backup_error)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.set_error_serializer(_serialize)
    versions, backup, restore = Versions(tools), Backup(tools), Restore(tools)
    collection = Collections(tools)
    app.add_route("/", versions)
    app.add_route("/v1", versions, suffix="version")
    app.add_route("/v1/openapi.json", versions, suffix="document")
    app.add_route("/v1/backups", backups(tools))
    app.add_route("/v1/backups/{backup_id}", backup)
    app.add_route("/v1/backups/{backup_id}/nodes", backup, suffix="nodes")
    app.add_route("/v1/backups/{backup_id}/cancel", backup, suffix="cancel")
    app.add_route("/v1/backups/{backup_id}/undelete", backup, suffix="undelete")
    app.add_route("/v1/backups/{backup_id}/verify", backup, suffix="verify")
    app.add_route("/v1/backups/{backup_id}/verification", backup, suffix="verification")
    app.add_route("/v1/backups/{backup_id}/keep", backup, suffix="keep")
    app.add_route("/v1/backups/{backup_id}/unkeep", backup, suffix="unkeep")
    app.add_route("/v1/restores", restores(tools))
    app.add_route("/v1/restores/{restore_id}", restore)
    app.add_route("/v1/restores/{restore_id}/cancel", restore, suffix="cancel")
    schedule = Schedule(tools)
    app.add_route("/v1/schedules", Schedules(tools))
    app.add_route("/v1/schedules/{schedule_id}", schedule)
    app.add_route("/v1/schedules/{schedule_id}/pause", schedule, suffix="pause")
    app.add_route("/v1/schedules/{schedule_id}/resume", schedule, suffix="resume")
    app.add_route("/v1/schedules/{schedule_id}/run", schedule, suffix="run")
    app.add_route("/v1/findings", Findings(tools))
    _add_retention(app, tools)
    app.add_route("/v1/nodes", Nodes(tools))
    app.add_route("/v1/repository/growth/{cluster}", GrowthOfCluster(tools))
    app.add_route("/v1/repository/collections", collection)
    app.add_route("/v1/repository/collections/{collection_id}", collection, suffix="one")
    return app


def _add_retention(app: falcon.App[falcon.Request, falcon.Response], tools: Tools) -> None:
    retention = Retention(tools)
    app.add_route("/v1/retention", Policies(tools))
    app.add_route("/v1/retention/{cluster}", retention)
    app.add_route("/v1/retention/{cluster}/plan", retention, suffix="plan")
    app.add_route("/v1/retention/{cluster}/apply", retention, suffix="apply")


def _on_http_error(
    request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, params: Any
) -> None:
    response.status = error.status
    for name, value in dict(error.headers or {}).items():
        response.set_header(name, value)
    _serialize(request, response, error)
