# SPDX-License-Identifier: Apache-2.0
"""What must be true after any number of kills."""

from __future__ import annotations

from random import Random
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.query import SimpleStatement

from tests.faults.killing.load import KEYSPACE, Load
from tests.lab.processes import wait_for
from tests.lab.rig import Rig

_RESTORED = f"{KEYSPACE}_drawn"
_DEADLINE = 300.0


def check_aftermath(rig: Rig, load: Load, draw: Random) -> dict[str, Any]:
    """Require ended jobs, whole backups, exact rows, and no rest on any node; return figures.

    Everything runs again, and nothing is asked of the service any more but by this check.
    """
    deployment = rig.deployment
    wait_for(
        lambda: not _running(rig), deadline=_DEADLINE, what=f"the end of all jobs: {_running(rig)}"
    )
    created = [b["id"] for b in deployment.manage("backup", "list", "--status", "CREATED").json]
    assert load.kept <= set(created), "a backup that was CREATED is gone"
    for backup in created:
        outcome = deployment.manage("backup", "verify", backup, "--read-data", "--wait")
        assert outcome.code == 0, f"backup {backup} is CREATED and damaged: {outcome.out}"
    drawn = draw.choice(sorted(set(created) & load.bounds.keys()))
    outcome = deployment.restore(drawn, "--to-keyspace", _RESTORED)
    assert outcome.code == 0, outcome.err
    _compare_rows(rig, load, drawn)
    rig.wait_clean()
    deployment.remove_kept()  # what failed restores have fetched is kept for a repetition
    wait_for(lambda: not deployment.staged(), deadline=60, what="no staged file on any node")
    return {"created": len(created), "restored": drawn}


def _running(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.deployment.jobs_not_ended()


def _compare_rows(rig: Rig, load: Load, backup: str) -> None:
    query = SimpleStatement(
        f"SELECT id, text FROM {_RESTORED}.t", consistency_level=ConsistencyLevel.ALL
    )
    with rig.cluster.session() as session:
        found = {row.id: row.text for row in session.execute(query)}
    bounds = load.bounds[backup]
    assert bounds.least - found.keys() == set(), f"backup {backup} lacks rows"
    assert found.keys() - bounds.most == set(), f"backup {backup} has rows of a later time"
    assert {i for i, text in found.items() if load.written.attempted[i] != text} == set()
