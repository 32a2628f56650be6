# SPDX-License-Identifier: Apache-2.0
"""Rules about backups."""

from oslo_policy import policy

_ADMIN = "role:admin"
RULES = [
    policy.DocumentedRuleDefault(
        "backups:create", _ADMIN, "Create a backup.", [{"path": "/v1/backups", "method": "POST"}]
    ),
    policy.DocumentedRuleDefault(
        "backups:list", _ADMIN, "List backups.", [{"path": "/v1/backups", "method": "GET"}]
    ),
    policy.DocumentedRuleDefault(
        "backups:get",
        _ADMIN,
        "Show a backup, its node backups and its verification.",
        [
            {"path": "/v1/backups/{id}", "method": "GET"},
            {"path": "/v1/backups/{id}/nodes", "method": "GET"},
            {"path": "/v1/backups/{id}/verification", "method": "GET"},
        ],
    ),
    policy.DocumentedRuleDefault(
        "backups:delete", _ADMIN, "Delete a backup.",
        [{"path": "/v1/backups/{id}", "method": "DELETE"}],
    ),
    policy.DocumentedRuleDefault(
        "backups:undelete", _ADMIN, "Undelete a deleted backup.",
        [{"path": "/v1/backups/{id}/undelete", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "backups:cancel", _ADMIN, "Cancel a running backup.",
        [{"path": "/v1/backups/{id}/cancel", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "backups:verify", _ADMIN, "Verify a backup.",
        [{"path": "/v1/backups/{id}/verify", "method": "POST"}],
    ),
]  # fmt: skip
