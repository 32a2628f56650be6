# SPDX-License-Identifier: Apache-2.0
"""A service that runs for long: backups by a schedule, which expire, are deleted and collected."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.depot import all_rows
from tests.functional.sample import STILL
from tests.lab.cassandra import CassandraCluster
from tests.lab.cassandra_flags import Shape
from tests.lab.deployment import Deployment, Outcome
from tests.lab.fault_proxy import FaultProxy
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.processes import wait_for
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.reader import Reader
from tests.lab.rig import PREFIX, Rig, demo_store, keystone_options
from tests.lab.swift import Swift

_ROWS = 500


@pytest.fixture(scope="module")
def years(
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
    keystone: Keystone,
    swift: Swift,
    faulty_swift: FaultProxy,
    rabbitmq: RabbitMQ,
) -> Iterator[Rig]:
    """One node; what is deleted cannot be undeleted, and is collected at the second look."""
    directory = tmp_path_factory.mktemp("years")
    shape = Shape(1, name="Years", first_host=180)
    cluster = CassandraCluster(directory / "cassandra", shape, block=loopback)
    deployment = Deployment(
        directory / "service",
        {
            "DEFAULT": {"transport_url": rabbitmq.add_virtual_host("years")},
            "storage": {"driver": "swift", "prefix": PREFIX},
            "swift": keystone_options(keystone),
            "conductor": {"undelete_period": 0, "collect_grace": 0},
        },
        cluster.nodes,
    )
    reader = Reader(demo_store(keystone, swift), PREFIX, cluster.name)
    try:
        cluster.start()
        deployment.start()
        yield Rig(cluster, deployment, reader, faulty_swift, swift, rabbitmq)
    finally:
        deployment.stop()
        cluster.stop()


def _change(rig: Rig) -> None:
    """Replace all rows by others, which do not compress, so that no SSTable of before stays."""
    rig.execute("TRUNCATE years.t")
    with rig.cluster.session() as session:
        insert = session.prepare("INSERT INTO years.t (id, text) VALUES (?, ?)")
        for i in range(_ROWS):
            session.execute(insert, (i, secrets.token_hex(100)))
    rig.flush("years")


def _manage(rig: Rig, *arguments: str) -> Any:
    outcome: Outcome = rig.deployment.manage(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome.json


def _scheduled(rig: Rig) -> str:
    """Let the schedule make a backup; return its ID."""
    run = _manage(rig, "schedule", "run", "nightly")
    ended = wait_for(
        lambda: rig.deployment.ended(run["backup_id"]), deadline=120, what="a scheduled backup"
    )
    assert ended["status"] == "CREATED", ended["error"]
    return str(ended["id"])


def test_old_backups_expire_and_their_bytes_are_freed(years: Rig) -> None:
    years.execute(
        "CREATE KEYSPACE years WITH replication = {'class': 'SimpleStrategy', "
        "'replication_factor': 1}",
        f"CREATE TABLE years.t (id int PRIMARY KEY, text text) {STILL}",
    )
    _manage(years, "schedule", "create", "nightly", "--cron", "30 2 * * *", "--keyspace", "years")
    made = []
    for _ in range(3):
        _change(years)
        made.append(_scheduled(years))
    rows = all_rows(years.cluster, "years.t")
    shown = _manage(years, "schedule", "show", "nightly")
    assert {run["backup_id"]: run["status"] for run in shown["runs"]} == dict.fromkeys(
        made, "CREATED"
    )
    alone = _manage(years, "repository", "show")["backups"]
    _manage(years, "retention", "set", "--redundancy", "1")
    planned = _manage(years, "retention", "apply", "--dry-run")
    assert len(planned) == 3
    assert {b["id"] for b in _manage(years, "backup", "list")} == set(made)
    _manage(years, "retention", "apply", "--wait")
    wait_for(
        lambda: [b["id"] for b in _manage(years, "backup", "list")] == made[2:],
        deadline=60,
        what="the deletions",
        interval=0.5,
    )
    kept = years.deployment.manage("backup", "delete", made[2])
    assert kept.code == 5
    assert "redundancy" in kept.err
    before = _manage(years, "repository", "show")["total"]
    looked = _manage(years, "repository", "collect")["total"]
    assert (looked["freed_packs"], looked["waiting_packs"] > 0) == (0, True)
    freed = _manage(years, "repository", "collect")["total"]
    # A small file that a later backup has too keeps its whole pack.
    assert (
        freed["freed_bytes"]
        == looked["waiting_bytes"]
        >= sum(alone.get(id_, 0) for id_ in made[:2])
    )
    left = before["bytes"] - freed["freed_bytes"]
    wait_for(  # Swift's listing may have removed packs for some time
        lambda: _manage(years, "repository", "show")["total"]["bytes"] == left,
        deadline=120,
        what="a listing without the removed packs",
        interval=2,
    )
    _manage(years, "backup", "verify", made[2], "--read-data")
    years.execute("TRUNCATE years.t")
    restored = years.deployment.restore(made[2])
    assert restored.code == 0, restored.err
    assert all_rows(years.cluster, "years.t") == rows
