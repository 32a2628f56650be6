# SPDX-License-Identifier: Apache-2.0
"""Rules about growth."""

from oslo_policy import policy

RULES = [
    policy.DocumentedRuleDefault(
        "growth:get",
        "role:admin",
        "Show how fast the backups of a cluster fill the store.",
        [{"path": "/v1/repository/growth/{cluster}", "method": "GET"}],
    ),
]
