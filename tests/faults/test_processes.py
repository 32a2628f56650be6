# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed or cancelled in the middle, and a schema that does not hold still."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager

import pytest

from tests.functional.comparing import compare
from tests.lab.processes import ManagedProcess, wait_for
from tests.lab.rig import Rig
from tests.lab.sampling import sampled

_SELECTION = ("--keyspace", "faults")
# What is asked of Swift in prepare, schema before, upload (packs, manifest) and commit.
_STEPS = {
    "prepare": "{host_id}",
    "schema before": "/schema.cql",
    "upload": "/packs/",
    "node manifest": "/nodes/",
    "commit": "/manifest.json",
}


@pytest.mark.parametrize("step", sampled(_STEPS, each_commit=["upload", "commit"]))
def test_conductor_killed(broken: Rig, step: str) -> None:
    """unit/conductor/backup/test_trouble proves every step for each commit."""
    at = _STEPS[step].format(host_id=broken.deployment.nodes[1].host_id)
    with broken.held(*_SELECTION, at=at) as backup:
        broken.deployment.conductor.kill()
        broken.proxy.clear()
        broken.deployment.conductor.start()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    compare(broken, outcome.json, ["faults.t"])
    broken.wait_clean()


def test_second_conductor_takes_over(broken: Rig) -> None:
    second = broken.deployment.second_conductor()
    second.start()
    try:
        wait_for(lambda: "started" in second.tail(), deadline=30, what="the second conductor")
        with broken.held(*_SELECTION, at="/packs/") as backup:
            (owner,) = broken.deployment.owners_of_jobs()
            both = (broken.deployment.conductor, second)
            (running,) = [p for p in both if owner.endswith(f":{p.pid}")]
            running.kill()
            broken.proxy.clear()
            outcome = backup.result(timeout=200)
        assert outcome.code == 0, outcome.err
        compare(broken, outcome.json, ["faults.t"])
    finally:
        second.stop()


@pytest.mark.parametrize(
    "step", sampled(["prepare", "upload", "node manifest"], each_commit=["upload"])
)
def test_worker_killed(broken: Rig, step: str) -> None:
    """unit/conductor/backup/test_trouble proves every task for each commit."""
    host_id = broken.deployment.nodes[1].host_id
    at = {"prepare": host_id, "upload": f"{host_id}/packs/", "node manifest": f"/nodes/{host_id}"}
    with broken.held(*_SELECTION, at=at[step]) as backup:
        broken.deployment.workers[1].kill()
        broken.proxy.clear()
        broken.deployment.workers[1].start()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    compare(broken, outcome.json, ["faults.t"])
    broken.wait_clean()


def test_worker_that_does_not_come_back(broken: Rig) -> None:
    host_id, address = broken.deployment.nodes[1].host_id, broken.deployment.nodes[1].address
    with broken.held(*_SELECTION, at=f"{host_id}/packs/") as backup:
        broken.deployment.workers[1].kill()
        broken.proxy.clear()
        outcome = backup.result(timeout=200)
    assert outcome.code == 1, outcome.out
    assert outcome.json["status"] == "CREATE_FAILED"
    assert address in outcome.json["error"]
    assert "did not answer; is it running" in outcome.json["error"]
    # Its snapshot goes when it is back.
    broken.deployment.workers[1].start()
    broken.wait_clean()


def _patient(rig: Rig) -> AbstractContextManager[ManagedProcess]:
    """Return the time of a conductor that waits for as long as a broker may take to start."""
    return rig.deployment.conductor_with(outage_deadline=120)


def test_broker_restarted(broken: Rig) -> None:
    with _patient(broken), broken.held(*_SELECTION, at="/packs/") as backup:
        broken.rabbitmq.kill()
        broken.proxy.clear()
        broken.rabbitmq.start()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    compare(broken, outcome.json, ["faults.t"])
    broken.wait_clean()


def test_request_while_the_broker_is_down(broken: Rig) -> None:
    """A request is recorded in the database; the bus only makes it start sooner."""
    with _patient(broken):
        broken.rabbitmq.kill()
        outcome = broken.deployment.manage("backup", "create", *_SELECTION)
        assert outcome.code == 0, outcome.err
        assert outcome.err == ""
        broken.rabbitmq.start()
        ended = wait_for(
            lambda: broken.deployment.ended(outcome.json["id"]),
            deadline=200,
            what="the backup's end",
        )
    assert ended["status"] == "CREATED", ended["error"]


def test_stopped_while_the_broker_is_down(broken: Rig) -> None:
    """A process that still waits for the broker can be stopped."""
    broken.rabbitmq.kill()
    conductor = broken.deployment.second_conductor()
    conductor.start()
    wait_for(lambda: "Connection failed" in conductor.tail(), deadline=30, what="a try to connect")
    conductor.signal(signal.SIGTERM)
    wait_for(lambda: not conductor.alive(), deadline=15, what="the conductor's end")


def test_cancelled(broken: Rig) -> None:
    with broken.held(*_SELECTION, at="/packs/") as backup:
        (running,) = broken.deployment.manage("backup", "list", "--status", "CREATING").json
        assert broken.deployment.manage("backup", "cancel", running["id"]).code == 0
        broken.proxy.clear()
        outcome = backup.result(timeout=200)
    assert broken.has_failed(outcome, "CANCELLED") == "cancelled on request"
    again = broken.deployment.manage("backup", "cancel", running["id"])
    assert again.code == 5
    assert "only a backup that is CREATING can be cancelled" in again.err


def _alter(rig: Rig, number: int) -> None:
    rig.execute(f"ALTER TABLE faults.t ADD added_{number} int")


def test_schema_changed_once(broken: Rig) -> None:
    """The snapshots are dropped and taken again."""
    with broken.held(*_SELECTION, at="/schema.cql") as backup:
        _alter(broken, 0)
        broken.proxy.clear()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    assert "added_0" in broken.reader.schema(outcome.json["id"])
    compare(broken, outcome.json, ["faults.t"])
    (tag,) = {h["snapshot_tag"] for h in broken.reader.headers(outcome.json["id"])}
    assert tag.endswith("-2")


def test_schema_changed_each_time(broken: Rig) -> None:
    with broken.held(*_SELECTION, at="/schema.cql") as backup:
        for number in (1, 2, 3):
            wait_for(lambda: broken.proxy.held, deadline=60, what=f"round {number}")
            _alter(broken, number)
            broken.proxy.clear()
            wait_for(lambda: not broken.proxy.held, deadline=10, what="the request's release")
            if number < 3:
                broken.proxy.hang(method="PUT", path_contains="/schema.cql")
        outcome = backup.result(timeout=200)
    error = broken.has_failed(outcome)
    assert "the schema changed while the snapshot was taken, in each of 3 rounds" in error
    assert "repeat the backup" in error
