# SPDX-License-Identifier: Apache-2.0
"""/v1/schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from magnetodb_backup.api.handlers.collection import accept
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.handlers.paging import page
from magnetodb_backup.api.schemas.document import read_body
from magnetodb_backup.domain.backup.views import backup_view, job_view
from magnetodb_backup.domain.schedule.actions import Action
from magnetodb_backup.domain.schedule.records import ScheduleRequest
from magnetodb_backup.domain.schedule.views import schedule_view

_ALL = "/v1/schedules"
_RULES = {
    Action.VERIFY: "backups:verify",
    Action.COLLECT: "collections:create",
    Action.EXPIRE: "retention:apply",
}


class Schedules:
    """The collection."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return a page of schedules, with a link to the next one."""
        self._tools.allow(request, "schedules:list")
        response.media = page(
            request,
            _ALL,
            max_limit=self._tools.max_limit,
            read=self._tools.database.schedules.list,
            view=schedule_view,
        )

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Record a schedule; 201."""
        self._tools.allow(request, "schedules:create")
        body = read_body(request, _ALL)
        wanted = ScheduleRequest.from_json(body)
        _allow_work(self._tools, request, wanted.action, body)
        schedule = self._tools.requests.create_schedule(wanted)
        response.location = f"{request.root_path}{_ALL}/{schedule.id}"
        response.status = falcon.HTTP_201
        _show(self._tools, response, schedule.id)


class Schedule:
    """One schedule."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response, schedule_id: str) -> None:
        """Return the record and the newest runs."""
        self._tools.allow(request, "schedules:get")
        _show(self._tools, response, schedule_id)

    def on_patch(
        self, request: falcon.Request, response: falcon.Response, schedule_id: str
    ) -> None:
        """Change the fields of the body."""
        self._tools.allow(request, "schedules:update")
        changes = read_body(request, f"{_ALL}/{{id}}", "patch")
        schedule = self._tools.database.schedules.get(schedule_id)
        _allow_work(self._tools, request, schedule.action, changes)
        self._tools.requests.change_schedule(schedule_id, changes)
        _show(self._tools, response, schedule_id)

    def on_delete(
        self, request: falcon.Request, response: falcon.Response, schedule_id: str
    ) -> None:
        """Remove the record; 204."""
        self._tools.allow(request, "schedules:delete")
        self._tools.requests.delete_schedule(schedule_id)
        response.status = falcon.HTTP_204

    def on_post_pause(
        self, request: falcon.Request, response: falcon.Response, schedule_id: str
    ) -> None:
        """Pause the schedule."""
        self._tools.allow(request, "schedules:pause")
        self._tools.requests.pause_schedule(schedule_id)
        _show(self._tools, response, schedule_id)

    def on_post_resume(
        self, request: falcon.Request, response: falcon.Response, schedule_id: str
    ) -> None:
        """Resume the schedule."""
        self._tools.allow(request, "schedules:resume")
        self._tools.requests.resume_schedule(schedule_id)
        _show(self._tools, response, schedule_id)

    def on_post_run(
        self, request: falcon.Request, response: falcon.Response, schedule_id: str
    ) -> None:
        """Request a run now; 202 with the backup, or with the first job of another action."""
        self._tools.allow(request, "schedules:run")
        run = self._tools.requests.run_schedule(schedule_id)
        if run.backup_id:
            response.location = f"{request.root_path}/v1/backups/{run.backup_id}"
            accept(response, backup_view(self._tools.database.backups.get(run.backup_id)))
        else:
            response.location = f"{request.root_path}{_ALL}/{schedule_id}"
            accept(response, job_view(self._tools.database.jobs.get(run.jobs[0])))


def _allow_work(
    tools: Tools, request: falcon.Request, action: Action, body: Mapping[str, Any]
) -> None:
    """Check the rules of what the schedule does besides backups, as if it were requested."""
    if action in _RULES:
        tools.allow(request, _RULES[action])
    if body.get("verify"):
        tools.allow(request, _RULES[Action.VERIFY])
    if "retention" in body:
        tools.allow(request, "retention:set")


def _show(tools: Tools, response: falcon.Response, schedule_id: str) -> None:
    response.media = schedule_view(tools.database.schedules.state(schedule_id), with_runs=True)
