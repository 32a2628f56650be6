# SPDX-License-Identifier: Apache-2.0
"""Rules about retention."""

from oslo_policy import policy

_ADMIN = "role:admin"
_CLUSTER = "/v1/retention/{cluster}"
RULES = [
    policy.DocumentedRuleDefault(
        "retention:list", _ADMIN, "List retention policies.",
        [{"path": "/v1/retention", "method": "GET"}],
    ),
    policy.DocumentedRuleDefault(
        "retention:get",
        _ADMIN,
        "Show a retention policy, what it decides, and the job that applied it.",
        [
            {"path": _CLUSTER, "method": "GET"},
            {"path": f"{_CLUSTER}/plan", "method": "GET"},
            {"path": f"{_CLUSTER}/apply", "method": "GET"},
        ],
    ),
    policy.DocumentedRuleDefault(
        "retention:set", _ADMIN, "Set or remove a retention policy.",
        [{"path": _CLUSTER, "method": "PUT"}, {"path": _CLUSTER, "method": "DELETE"}],
    ),
    policy.DocumentedRuleDefault(
        "retention:apply", _ADMIN, "Delete the backups that expire.",
        [{"path": f"{_CLUSTER}/apply", "method": "POST"}],
    ),
]  # fmt: skip
