# SPDX-License-Identifier: Apache-2.0
"""What must be true after any number of kills."""

from __future__ import annotations

from collections.abc import Sequence
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
    packs = _collect(rig, created)
    return {"created": len(created), "restored": drawn, "packs": packs}


def _collect(rig: Rig, created: Sequence[str]) -> int:
    """Require that no pack is left but those that backups need; return their number."""
    for _ in range(2):  # the first look only records
        outcome = rig.deployment.manage("repository", "collect", "--grace", "0", "--wait")
        assert outcome.code == 0, outcome.err
    needed = set[tuple[str, str]]().union(*(rig.reader.needed_packs(b) for b in created))
    hosts = [node.host_id for node in rig.cluster.nodes]

    def listed() -> set[tuple[str, str]]:
        return {(host, pack) for host in hosts for pack in rig.reader.listed_packs(host)}

    wait_for(  # a listing of Swift may have for a while what was removed
        lambda: listed() == needed,
        deadline=120,
        what=f"the packs of {len(created)} backups and no others",
        interval=2,
    )
    return len(needed)


def _running(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.deployment.jobs_not_ended()


def _compare_rows(rig: Rig, load: Load, backup: str) -> None:
    query = SimpleStatement(
        f"SELECT id, text FROM {_RESTORED}.t",
        consistency_level=ConsistencyLevel.ALL,
        fetch_size=200,  # the nodes of the lab have little memory
    )
    with rig.cluster.session() as session:
        found = {row.id: row.text for row in session.execute(query)}
    bounds = load.bounds[backup]
    assert bounds.least - found.keys() == set(), f"backup {backup} lacks rows"
    assert found.keys() - bounds.most == set(), f"backup {backup} has rows of a later time"
    assert {i for i, text in found.items() if load.written.attempted[i] != text} == set()
