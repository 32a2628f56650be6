# SPDX-License-Identifier: Apache-2.0
"""The policy: least privilege, everything requires the role of an administrator."""

from __future__ import annotations

from typing import Any

from magnetodb_backup.api.policies import (
    backups,
    collections,
    findings,
    growth,
    nodes,
    restores,
    retention,
    schedules,
)


def list_rules() -> list[Any]:
    """Return all rules, for enforcement and for the sample policy."""
    return [
        *backups.RULES,
        *restores.RULES,
        *collections.RULES,
        *schedules.RULES,
        *findings.RULES,
        *growth.RULES,
        *retention.RULES,
        *nodes.RULES,
    ]
