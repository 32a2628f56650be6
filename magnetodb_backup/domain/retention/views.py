# SPDX-License-Identifier: Apache-2.0
"""The form of policies and decisions in the REST API and in ``-f json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from magnetodb_backup.domain.backup.views import time_view
from magnetodb_backup.domain.retention.candidates import group_text
from magnetodb_backup.domain.retention.decide import Decision
from magnetodb_backup.domain.retention.policies import SchedulePolicy
from magnetodb_backup.domain.retention.policy import ClusterPolicy


def policy_view(record: ClusterPolicy) -> dict[str, Any]:
    """Return the fields of a cluster's policy."""
    return {
        "cluster": record.cluster,
        **asdict(record.policy),
        "created_at": time_view(record.created_at),
        "updated_at": time_view(record.updated_at),
    }


def schedule_policy_view(own: SchedulePolicy) -> dict[str, Any]:
    """Return the fields of a schedule's own policy."""
    return {"schedule_id": own.schedule_id, "schedule": own.name, **asdict(own.policy)}


def decision_view(decision: Decision, schedule: str = "") -> dict[str, Any]:
    """Return the fields of the decision on a backup.

    ``schedule`` is the name of the schedule by whose own policy it is judged.
    """
    candidate = decision.candidate
    return {
        "backup_id": candidate.id,
        "name": candidate.name,
        "scope": group_text(candidate.group),
        "schedule": schedule,
        "finished_at": time_view(candidate.moment),
        "state": candidate.state.value,
        "kept": decision.kept,
        "reasons": [f"{r.rule.value}: {r.detail}" for r in decision.reasons] or [decision.expires],
    }
