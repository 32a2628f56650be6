# SPDX-License-Identifier: Apache-2.0
"""Restores whose processes and servers die at each step: they go on, and lose nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.bench import KEYSPACE, TABLES, VICTIM, Bench, Saved
from tests.functional.runbook import follow
from tests.lab.deployment import Outcome
from tests.lab.processes import wait_for

_REPLACE = ("--existing", "replace")
_SHORT = 5.0  # seconds of the deadlines of an impatient conductor
_STEPS = ("download", "schema", "truncate", "import")


def _with_trouble(
    bench: Bench, saved: Saved, steps: tuple[str, ...], trouble: Callable[[str], Callable[[], None]]
) -> None:
    """Restore over spoilt tables; at each step ``trouble`` happens, and ends as it returns."""
    bench.spoil()
    bench.hold(*steps)
    with bench.restoring(saved.id, *_REPLACE) as restore:
        for step in steps:
            bench.wait_held(step, restore)
            end = trouble(step)
            bench.release(step)
            end()
        outcome = restore.result(timeout=280)
    _is_restored(bench, saved, outcome)


def _is_restored(bench: Bench, saved: Saved, outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.err
    record = outcome.json
    assert (record["status"], record["error"]) == ("RESTORED", "")
    assert record["tables"] == dict.fromkeys(TABLES, "restored")
    assert bench.rows() == saved.rows
    assert not bench.deployment.staged()


def test_workers_killed(bench: Bench, saved: Saved) -> None:
    workers = bench.deployment.workers

    def kill(step: str) -> Callable[[], None]:
        # Any worker may be the one that works on the schema and truncates.
        killed = [workers[VICTIM]] if step in ("download", "import") else workers
        for worker in killed:
            worker.kill()

        def start() -> None:
            for worker in killed:
                worker.start()

        return start

    _with_trouble(bench, saved, _STEPS, kill)


def test_conductor_killed(bench: Bench, saved: Saved) -> None:
    def kill(step: str) -> Callable[[], None]:
        bench.deployment.conductor.kill()
        bench.deployment.conductor.start()
        return lambda: None

    _with_trouble(bench, saved, _STEPS, kill)


def test_broker_killed(bench: Bench, saved: Saved) -> None:
    def kill(step: str) -> Callable[[], None]:
        bench.rig.rabbitmq.kill()
        return bench.rig.rabbitmq.start

    _with_trouble(bench, saved, ("download", "import"), kill)


@pytest.mark.nightly
def test_swift_killed(bench: Bench, saved: Saved) -> None:
    """A long run; faults/test_storage has a Swift that is away, the broker's test a restore."""

    def kill(step: str) -> Callable[[], None]:
        bench.rig.swift.kill()
        return bench.rig.swift.heal

    _with_trouble(bench, saved, ("download", "schema"), kill)


@pytest.mark.nightly
def test_cassandra_killed(bench: Bench, saved: Saved) -> None:
    """A long run; faults/test_nodes kills Cassandra too, test_workers_killed at the same steps."""

    def kill(step: str) -> Callable[[], None]:
        bench.rig.cluster.nodes[VICTIM].kill()
        return bench.rig.cluster.heal

    _with_trouble(bench, saved, ("download", "truncate", "import"), kill)


def test_no_file_is_downloaded_twice(bench: Bench, saved: Saved) -> None:
    """A worker dies while one pack of several is still to come."""
    node = bench.deployment.nodes[VICTIM]
    lines = [
        line
        for line in bench.rig.reader.lines(saved.id)
        # Cassandra's notes on a snapshot are kept too, but not restored.
        if line.key[0] == node.host_id and line.data["name"] not in ("manifest.json", "schema.cql")
    ]
    packs = list(dict.fromkeys(pack for line in lines for pack, *_ in line.data["extents"]))
    assert len(packs) > 2
    last = packs[-1]
    unfinished = sum(
        line.data["size"] for line in lines if last in [pack for pack, *_ in line.data["extents"]]
    )
    bench.hold("download", pack=last)
    with bench.restoring(saved.id, *_REPLACE) as restore:
        bench.wait_held("download", restore)
        before = wait_for(lambda: _all_but(bench, unfinished), deadline=60, what="the other packs")
        bench.deployment.workers[VICTIM].kill()
        bench.rig.proxy.clear()
        bench.deployment.workers[VICTIM].start()
        outcome = restore.result(timeout=280)
    _is_restored(bench, saved, outcome)
    record = {n["host_id"]: n for n in outcome.json["nodes"]}[node.host_id]
    assert record["bytes_resumed"] == before > 0
    assert record["bytes_downloaded"] == record["bytes_total"] - before
    assert bench.rig.proxy.received == record["bytes_downloaded"]
    for pack in packs:
        assert bench.rig.proxy.count(path_contains=pack) == (pack == last), pack


def _all_but(bench: Bench, unfinished: int) -> int:
    """Return what the victim has staged once everything else is, on all nodes."""
    nodes = {n["host_id"]: n for n in bench.running()["nodes"]}
    victim = nodes.pop(bench.deployment.nodes[VICTIM].host_id)
    done = int(victim["bytes_done"])
    others = all(n["bytes_done"] == n["bytes_total"] > 0 for n in nodes.values())
    return done if others and done == victim["bytes_total"] - unfinished else 0


def test_worker_that_does_not_come_back(bench: Bench, saved: Saved) -> None:
    """The end says what stays on the nodes and what to do, and that does it."""
    bench.spoil()
    bench.hold("download")
    impatient = bench.deployment.conductor_with(outage_deadline=_SHORT, worker_timeout=_SHORT)
    with impatient, bench.restoring(saved.id, *_REPLACE) as restore:
        bench.wait_held("download", restore)
        wait_for(lambda: _others_are_done(bench), deadline=60, what="the other nodes")
        bench.deployment.workers[VICTIM].kill()
        bench.release("download")
        outcome = restore.result(timeout=280)
    assert outcome.code == 1
    record = outcome.json
    victim = bench.deployment.nodes[VICTIM]
    assert record["status"] == "RESTORE_FAILED"
    assert record["tables"] == dict.fromkeys(TABLES, "untouched")
    for text in (
        victim.address,
        "did not answer; is it running",
        f"What is staged on {victim.address} stays until the worker there",
        f"another restore of backup {saved.id} does not fetch them again",
    ):
        assert text in record["error"]
    assert record["error"] in outcome.err
    kept = bench.deployment.kept()
    bench.release()
    bench.rig.heal()
    assert follow("recover-failed", bench.rig, RESTORE=record["id"])["error"] == record["error"]
    # The worker that comes back removes what it had fetched in part only.
    assert _elsewhere(bench, bench.deployment.kept()) == _elsewhere(bench, kept) != []
    again = bench.restore(saved.id, "--keyspace", KEYSPACE, *_REPLACE)
    _is_restored(bench, saved, again)
    for node in again.json["nodes"]:
        downloaded = node["bytes_downloaded"]
        assert (downloaded == 0) == (node["host_id"] != victim.host_id), node


def _elsewhere(bench: Bench, paths: list[Path]) -> list[Path]:
    home = bench.rig.cluster.nodes[VICTIM].home
    return [path for path in paths if home not in path.parents]


def _others_are_done(bench: Bench) -> bool:
    nodes = {n["host_id"]: n for n in bench.running()["nodes"]}
    del nodes[bench.deployment.nodes[VICTIM].host_id]
    return all(n["bytes_done"] == n["bytes_total"] > 0 for n in nodes.values())


def test_node_away_for_longer_than_every_deadline(bench: Bench, saved: Saved) -> None:
    """In the middle of its imports; once it is back, the restore ends, and fetches nothing."""
    bench.spoil()
    bench.hold("import")
    victim = bench.deployment.nodes[VICTIM]
    impatient = bench.deployment.conductor_with(outage_deadline=_SHORT, worker_timeout=_SHORT)
    with impatient, bench.restoring(saved.id, *_REPLACE) as restore:
        bench.wait_held("import", restore)
        bench.rig.proxy.clear()
        bench.deployment.workers[VICTIM].kill()
        bench.rig.cluster.nodes[VICTIM].kill()
        bench.release("import")
        waits = f"import: node {victim.address}: "
        wait_for(lambda: waits in bench.running()["waiting_for"], deadline=60, what=waits)
        until = time.monotonic() + 3 * _SHORT
        wait_for(lambda: time.monotonic() > until, deadline=60, what="all deadlines")
        assert waits in bench.running()["waiting_for"]
        bench.rig.cluster.heal()
        bench.deployment.workers[VICTIM].start()
        outcome = restore.result(timeout=280)
    _is_restored(bench, saved, outcome)
    assert bench.rig.proxy.count(method="GET", path_contains="/packs/") == 0
