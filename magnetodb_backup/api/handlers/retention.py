# SPDX-License-Identifier: Apache-2.0
"""/v1/retention."""

from __future__ import annotations

import falcon

from magnetodb_backup.api.handlers.collection import accept
from magnetodb_backup.api.handlers.context import Tools
from magnetodb_backup.api.schemas.document import read_body
from magnetodb_backup.domain.backup.views import job_view, time_view
from magnetodb_backup.domain.jobs import JobKind, Subject
from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.domain.retention.views import decision_view, policy_view, schedule_policy_view
from magnetodb_backup.errors import NotFound

_PATH = "/v1/retention/{cluster}"


class Policies:
    """The policies of all clusters."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Return all policies."""
        self._tools.allow(request, "retention:list")
        policies = self._tools.database.retention.list()
        response.media = {"policies": [policy_view(record) for record in policies]}


class Retention:
    """The policy of one cluster."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def on_get(self, request: falcon.Request, response: falcon.Response, cluster: str) -> None:
        """Return the policy."""
        self._tools.allow(request, "retention:get")
        response.media = policy_view(self._tools.database.retention.get(cluster))

    def on_put(self, request: falcon.Request, response: falcon.Response, cluster: str) -> None:
        """Set the policy, in place of one that the cluster has; return it."""
        self._tools.allow(request, "retention:set")
        policy = Policy(**read_body(request, _PATH, "put"))
        response.media = policy_view(self._tools.requests.set_retention(cluster, policy))

    def on_delete(self, request: falcon.Request, response: falcon.Response, cluster: str) -> None:
        """Remove the policy; return it."""
        self._tools.allow(request, "retention:set")
        response.media = policy_view(self._tools.requests.clear_retention(cluster))

    def on_get_plan(self, request: falcon.Request, response: falcon.Response, cluster: str) -> None:
        """Return what the policies of the cluster and its schedules decide now."""
        self._tools.allow(request, "retention:get")
        plan = self._tools.requests.plan_retention(cluster)
        response.media = {
            "policy": None if plan.policy is None else policy_view(plan.policy),
            "schedules": [schedule_policy_view(own) for own in plan.schedules],
            "now": time_view(plan.now),
            "decisions": [decision_view(d, plan.schedule_of(d)) for d in plan.decisions],
        }

    def on_post_apply(
        self, request: falcon.Request, response: falcon.Response, cluster: str
    ) -> None:
        """Request the deletion of what expires; 202."""
        self._tools.allow(request, "retention:apply")
        accept(response, job_view(self._tools.requests.apply_retention(cluster)))

    def on_get_apply(
        self, request: falcon.Request, response: falcon.Response, cluster: str
    ) -> None:
        """Return the latest job that applied the policy."""
        self._tools.allow(request, "retention:get")
        job = self._tools.database.jobs.latest(Subject.cluster(cluster), JobKind.RETENTION)
        if job is None:
            raise NotFound(f"no policy of cluster {cluster!r} was applied; POST to its apply first")
        response.media = job_view(job)
