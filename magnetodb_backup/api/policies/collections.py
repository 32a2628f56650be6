# SPDX-License-Identifier: Apache-2.0
"""Rules about collections."""

from oslo_policy import policy

_ADMIN = "role:admin"
RULES = [
    policy.DocumentedRuleDefault(
        "collections:create", _ADMIN, "Remove the packs that no backup needs, or report them.",
        [{"path": "/v1/repository/collections", "method": "POST"}],
    ),
    policy.DocumentedRuleDefault(
        "collections:get", _ADMIN, "Show a collection and what it removed.",
        [{"path": "/v1/repository/collections/{id}", "method": "GET"}],
    ),
]  # fmt: skip
