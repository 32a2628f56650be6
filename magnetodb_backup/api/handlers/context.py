# SPDX-License-Identifier: Apache-2.0
"""The objects that all handlers use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import falcon
from oslo_context.context import RequestContext
from oslo_policy import policy

from magnetodb_backup.database import Database
from magnetodb_backup.requests.interface import Requests


@dataclass(frozen=True)
class Tools:
    """``max_limit`` is the maximum number of records on one page."""

    database: Database
    requests: Requests
    enforcer: Any
    version: str
    max_limit: int

    def allow(self, request: falcon.Request, rule: str) -> None:
        """Raise 403 unless the policy allows the caller ``rule``."""
        context: RequestContext = request.context.caller
        try:
            self.enforcer.authorize(rule, {}, context, do_raise=True)
        except policy.PolicyNotAuthorized:
            raise falcon.HTTPForbidden(description=f"the policy forbids {rule}") from None
