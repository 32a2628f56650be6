# SPDX-License-Identifier: Apache-2.0
"""Rules about findings."""

from oslo_policy import policy

RULES = [
    policy.DocumentedRuleDefault(
        "findings:list",
        "role:admin",
        "List the damage that verifications found.",
        [{"path": "/v1/findings", "method": "GET"}],
    ),
]
