# SPDX-License-Identifier: Apache-2.0
"""Rules about schedules."""

from oslo_policy import policy

_ADMIN = "role:admin"
_ONE = "/v1/schedules/{id}"
_ALSO = "The rule of what it starts besides backups applies, too."
RULES = [
    policy.DocumentedRuleDefault(
        "schedules:create", _ADMIN, f"Create a schedule. {_ALSO}",
        [{"path": "/v1/schedules", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "schedules:list", _ADMIN, "List schedules.", [{"path": "/v1/schedules", "method": "GET"}]
    ),
    policy.DocumentedRuleDefault(
        "schedules:get", _ADMIN, "Show a schedule and its runs.", [{"path": _ONE, "method": "GET"}]
    ),
    policy.DocumentedRuleDefault(
        "schedules:update", _ADMIN, f"Change a schedule. {_ALSO}",
        [{"path": _ONE, "method": "PATCH"}],
    ),
    policy.DocumentedRuleDefault(
        "schedules:delete", _ADMIN, "Delete a schedule.", [{"path": _ONE, "method": "DELETE"}]
    ),
    policy.DocumentedRuleDefault(
        "schedules:pause", _ADMIN, "Pause a schedule.",
        [{"path": f"{_ONE}/pause", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "schedules:resume", _ADMIN, "Resume a paused schedule.",
        [{"path": f"{_ONE}/resume", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "schedules:run", _ADMIN, "Begin a run of a schedule now.",
        [{"path": f"{_ONE}/run", "method": "POST"}],
    ),
]  # fmt: skip
