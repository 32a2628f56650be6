# SPDX-License-Identifier: Apache-2.0
"""/v1/schedules."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.collection import accept
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.handlers.paging import page
from magnetodb_backup.api.schemas.document import read_body
from magnetodb_backup.domain.backup.views import backup_view, job_view
from magnetodb_backup.domain.schedule.records import ScheduleRequest
from magnetodb_backup.domain.schedule.views import schedule_view

_ALL = "/v1/schedules"


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
        wanted = ScheduleRequest.from_json(read_body(request, _ALL))
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


def _show(tools: Tools, response: falcon.Response, schedule_id: str) -> None:
    response.media = schedule_view(tools.database.schedules.state(schedule_id), with_runs=True)
