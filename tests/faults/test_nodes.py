# SPDX-License-Identifier: Apache-2.0
"""Workers and Cassandra nodes that are missing, double, misconfigured or down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.processes import ManagedProcess, wait_for
from tests.lab.rig import Rig
from tests.lab.sampling import sampled

_SELECTION = ("--keyspace", "faults")


@contextmanager
def other_worker(rig: Rig, number: int, suffix: str, **extra: dict[str, Any]) -> Iterator[None]:
    """Run a worker with other options in a worker's place, until its problem is reported."""
    worker = rig.deployment.worker(number, suffix, extra)
    with running_in_place(rig, number, worker):
        yield


@contextmanager
def running_in_place(rig: Rig, number: int, worker: ManagedProcess) -> Iterator[None]:
    rig.deployment.workers[number].stop()
    worker.start()
    try:
        wait_problem(rig, rig.deployment.nodes[number].address)
        yield
    finally:
        worker.stop()


def wait_problem(rig: Rig, address: str) -> str:
    """Return the problem that a live worker reports of the node."""

    def problem() -> str:
        return next(
            (
                str(n["problem"])
                for n in rig.deployment.reported_nodes()
                if n["live"] and n["problem"] and n["address"] in (address, "", None)
            ),
            "",
        )

    return wait_for(problem, deadline=60, what=f"a problem of {address}")


def test_missing_worker(broken: Rig) -> None:
    broken.deployment.workers[2].stop()
    error = broken.failed(*_SELECTION)
    assert broken.deployment.nodes[2].address in error
    assert "its worker last reported at" in error
    assert "Start magnetodb-backup-worker" in error
    partial = broken.deployment.backup(*_SELECTION, "--allow-partial")
    assert partial.code == 3, partial.err
    assert partial.json["status"] == "PARTIAL"
    manifest = broken.reader.manifest(partial.json["id"])
    assert manifest["missing_nodes"] == [broken.deployment.nodes[2].host_id]
    assert manifest["coverage"]["faults"]["status"] == "partial"
    assert len(manifest["nodes"]) == 2
    verified = broken.deployment.manage("backup", "verify", partial.json["id"], "--read-data")
    assert verified.code == 0, verified.err


def test_partial_backup_needs_every_range(broken: Rig) -> None:
    """With two replicas, two nodes that are missing take ranges with them."""
    for number in (1, 2):
        broken.deployment.workers[number].stop()
    error = broken.failed(*_SELECTION, "--allow-partial")
    assert "faults" in error


def test_two_workers_for_a_node(broken: Rig) -> None:
    second = broken.deployment.worker(0, "-second")
    second.start()
    try:
        broken.deployment.wait_live(4)
        error = broken.failed(*_SELECTION)
        assert "has 2 live workers" in error
        assert broken.deployment.nodes[0].address in error
        assert "stop all but one" in error
        assert broken.deployment.manage("status", "check").code == 1
    finally:
        second.stop()


def test_wrong_data_directories(broken: Rig, tmp_path: Path) -> None:
    wrong = {"data_directories": f"{tmp_path / 'elsewhere'}"}
    with other_worker(broken, 1, "-wrong-directories", cassandra=wrong):
        error = broken.failed(*_SELECTION)
    assert str(tmp_path / "elsewhere") in error
    assert "correct the option or leave it out" in error


def test_missing_data_directory(broken: Rig) -> None:
    node = broken.deployment.nodes[2]
    directory = node.data_directories[1]
    away = directory.with_name("away")
    directory.rename(away)
    try:
        assert str(directory) in wait_problem(broken, node.address)
        error = broken.failed(*_SELECTION)
    finally:
        away.rename(directory)
    assert f"data directory {directory}: No such file or directory" in error


def test_unreadable_data_directory(broken: Rig) -> None:
    node, number = broken.deployment.nodes[1], 1
    directory = node.data_directories[1]
    worker = broken.deployment.worker(number, "-powerless")
    # Even root may then read only what its permissions allow.
    worker.argv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *worker.argv]
    mode = directory.stat().st_mode
    directory.chmod(0)
    try:
        with running_in_place(broken, number, worker):
            error = broken.failed(*_SELECTION)
    finally:
        directory.chmod(mode)
    assert f"data directory {directory}: Permission denied" in error
    assert "the worker's user may read" in error


def test_no_space(broken: Rig) -> None:
    with other_worker(broken, 1, "-full", worker={"head_room_percent": 100}):
        error = broken.failed(*_SELECTION)
    assert str(broken.deployment.nodes[1].data_directories[0]) in error
    assert "head_room_percent = 100" in error


def test_node_control_of_another_node(broken: Rig) -> None:
    nodes = broken.deployment.nodes
    worker = broken.deployment.worker(1, "-crossed", {"jolokia": {"url": nodes[2].jolokia_url}})
    broken.deployment.workers[1].stop()
    worker.start()
    try:
        wait_for(
            lambda: len(broken.deployment.live_nodes()) == 3, deadline=60, what="three live workers"
        )
        error = broken.failed(*_SELECTION)
    finally:
        worker.stop()
    assert f"node control reaches {nodes[2].host_id}" in error
    assert nodes[1].host_id in error


def test_cassandra_down_before(broken: Rig) -> None:
    node = broken.cluster.nodes[2]
    node.kill()
    wait_problem(broken, node.address)
    error = broken.failed(*_SELECTION)
    assert node.address in error
    assert "ring members without a usable worker" in error


@pytest.mark.parametrize("at", sampled(["{host_id}", "schema.cql"], each_commit=["schema.cql"]))
def test_cassandra_down_in_a_step(broken: Rig, at: str) -> None:
    """Killed while prepare or schema before waits: flush or snapshot meet the dead node.

    The flush that fails is proved by unit/conductor/backup/test_trouble too.
    """
    node = broken.cluster.nodes[2]
    with broken.held(*_SELECTION, at=at.format(host_id=node.host_id)) as backup:
        node.kill()
        broken.proxy.clear()
        outcome = backup.result(timeout=200)
    assert outcome.code == 1, outcome.out
    assert outcome.json["status"] == "CREATE_FAILED"
    assert node.address in outcome.json["error"]
    broken.cluster.heal()
    # The dead node could not remove its snapshot; now its worker sees to it.
    broken.wait_clean()


def test_cassandra_down_in_the_upload(broken: Rig) -> None:
    """The hard links are there, so all is stored; the snapshot goes when Cassandra is back."""
    node = broken.cluster.nodes[2]
    with broken.held(*_SELECTION, at=f"{node.host_id}/packs/") as backup:
        node.kill()
        broken.proxy.clear()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    assert outcome.json["status"] == "CREATED"
    verified = broken.deployment.manage("backup", "verify", outcome.json["id"], "--read-data")
    assert verified.code == 0, verified.err
    assert len(broken.reader.manifest(outcome.json["id"])["nodes"]) == len(broken.cluster.nodes)
    left = broken.deployment.snapshots()
    assert left
    assert all(str(node.home) in path for path in left)
    broken.cluster.heal()
    broken.wait_clean()
