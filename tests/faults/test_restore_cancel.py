# SPDX-License-Identifier: Apache-2.0
"""Restores that are cancelled: what stays on the nodes and in the tables is as the end says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.bench import TABLES, Bench, Saved
from tests.functional.runbook import follow
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for

_REPLACE = ("--existing", "replace")


def _cancelled_in(bench: Bench, saved: Saved, step: str) -> Outcome:
    """Cancel a restore that is held at a step, as the runbook says; only fetched files may stay."""
    bench.hold(step)
    with bench.restoring(saved.id, *_REPLACE) as restore:
        bench.wait_held(step, restore)
        assert bench.deployment.staged()
        ((running, _),) = bench.deployment.running_restores()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(follow, "recover-cancelled", bench.rig, RESTORE=running)
            wait_for(
                lambda: bench.deployment.is_cancelled(running), deadline=60, what="the request"
            )
            bench.release(step)
            outcome = restore.result(timeout=200)
            assert asked.result(timeout=60) == outcome.json
    assert outcome.code == 1
    assert outcome.json["status"] == "CANCELLED"
    assert outcome.json["error"].startswith("cancelled on request")
    assert outcome.json["error"] in outcome.err
    assert bench.deployment.staged() == bench.deployment.kept()
    again = bench.deployment.manage("restore", "cancel", running)
    assert again.code == 5
    assert "only a restore that is RESTORING can be cancelled" in again.err
    return outcome


@pytest.mark.parametrize("step", ["download", "schema"])
def test_before_anything_is_touched(bench: Bench, saved: Saved, step: str) -> None:
    bench.write(TABLES[0], range(5))
    before = bench.rows()
    outcome = _cancelled_in(bench, saved, step)
    assert bool(bench.deployment.kept()) == (step == "schema")
    if step == "download":
        assert outcome.json["error"] == "cancelled on request"
    assert outcome.json["tables"] == dict.fromkeys(TABLES, "untouched")
    assert bench.rows() == before


def test_between_two_imports(bench: Bench, saved: Saved) -> None:
    outcome = _cancelled_in(bench, saved, "import")
    told = "partly restored: repeat with --existing replace"
    assert told in outcome.json["error"]
    assert outcome.json["tables"] == dict.fromkeys(TABLES, told)
    assert (
        f"another restore of backup {saved.id} does not fetch them again" in outcome.json["error"]
    )
    bench.rig.proxy.clear()
    planned = bench.restore(saved.id, *_REPLACE, "--dry-run").json["plan"]
    assert planned["bytes_staged"] == planned["bytes"] > 0
    again = bench.restore(saved.id, *_REPLACE)
    assert again.code == 0, again.err
    assert bench.rig.proxy.count(method="GET", path_contains="/packs/") == 0
    assert sum(node["bytes_downloaded"] for node in again.json["nodes"]) == 0
    assert bench.rows() == saved.rows
    assert bench.deployment.staged() == []
