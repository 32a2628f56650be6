# SPDX-License-Identifier: Apache-2.0
"""Rules about nodes."""

from oslo_policy import policy

RULES = [
    policy.DocumentedRuleDefault(
        "nodes:list", "role:admin", "List nodes.", [{"path": "/v1/nodes", "method": "GET"}]
    ),
]
