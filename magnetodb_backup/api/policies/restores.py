# SPDX-License-Identifier: Apache-2.0
"""Rules about restores."""

from oslo_policy import policy

_ADMIN = "role:admin"
RULES = [
    policy.DocumentedRuleDefault(
        "restores:create", _ADMIN, "Restore a backup, or plan it.",
        [{"path": "/v1/restores", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "restores:list", _ADMIN, "List restores.", [{"path": "/v1/restores", "method": "GET"}]
    ),
    policy.DocumentedRuleDefault(
        "restores:get", _ADMIN, "Show a restore, its plan and its nodes.",
        [{"path": "/v1/restores/{id}", "method": "GET"}],
    ),
    policy.DocumentedRuleDefault(
        "restores:cancel", _ADMIN, "Cancel a running restore.",
        [{"path": "/v1/restores/{id}/cancel", "method": "POST"}],
    ),
]  # fmt: skip
