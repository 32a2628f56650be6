# SPDX-License-Identifier: Apache-2.0
"""What has destroyed backups elsewhere: the traps of catalogue, deletion and retention.

Traps 5 and 6 are in ``test_undeletion.py``. Trap 7, a year of backups, is in
``tests/contract/test_database_reads.py``.
"""

from __future__ import annotations

import secrets
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.killing.prey import Prey
from tests.functional.comparing import compare
from tests.functional.sample import make_table
from tests.lab.processes import wait_for
from tests.lab.rig import Rig

_TABLE = "traps.t"
_SELECTION = ("--keyspace", "traps")


@pytest.fixture(scope="module")
def trapped(prey: Prey) -> Rig:
    """A deployment in which deleted backups are purged, and packs removed, after seconds."""
    make_table(prey.rig, _TABLE)
    return prey.rig


@pytest.fixture
def trap(trapped: Rig) -> Iterator[Rig]:
    """Yield it with rows that no backup has; repair what the test breaks."""
    trapped.insert_new(_TABLE)
    yield trapped
    trapped.heal()


def _manage(rig: Rig, *arguments: str) -> Any:
    outcome = rig.deployment.manage(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome.json


def _is_whole(rig: Rig, backup: dict[str, Any]) -> None:
    _manage(rig, "backup", "verify", backup["id"], "--read-data")


def _let_packs_be_due(rig: Rig) -> None:
    """Purge what was deleted, and let a first look find its packs dead."""
    wait_for(
        lambda: _manage(rig, "repository", "collect")["total"]["waiting_packs"],
        deadline=60,
        what="packs that no backup needs",
        interval=1,
    )
    wait_for(
        lambda: _manage(rig, "repository", "collect", "--dry-run")["total"]["due_packs"],
        deadline=60,
        what="packs whose grace period is over",
        interval=1,
    )


def test_trap_1_collection_beside_a_backup_that_needs_the_packs_again(trap: Rig) -> None:
    deleted = trap.created(*_SELECTION)
    _manage(trap, "backup", "delete", deleted["id"], "--wait")
    _let_packs_be_due(trap)
    trap.proxy.hang(method="DELETE", path_contains="/packs/")
    with ThreadPoolExecutor(2) as pool:
        collection = pool.submit(_manage, trap, "repository", "collect")
        try:
            wait_for(lambda: trap.proxy.held, deadline=60, what="the removal of a pack")
            backup = pool.submit(trap.created, *_SELECTION)
            wait_for(
                lambda: len(trap.deployment.jobs_not_ended()) == 2, deadline=60, what="the backup"
            )
        finally:
            trap.proxy.clear()
        assert collection.result(timeout=120)["total"]["freed_packs"] > 0
        made = backup.result(timeout=240)
    _is_whole(trap, made)
    compare(trap, made, [_TABLE])


def test_trap_2_failed_backups_do_not_replace_the_last_good_one(trap: Rig) -> None:
    good = trap.created(*_SELECTION)
    _manage(trap, "retention", "set", "--redundancy", "1")
    try:
        trap.insert_new(_TABLE)
        trap.proxy.fail(method="PUT", path_contains="/packs/", status=507)
        for _ in range(2):
            trap.failed(*_SELECTION)
        trap.proxy.clear()
        _manage(trap, "retention", "apply", "--wait")
        refused = trap.deployment.manage("backup", "delete", good["id"])
        assert (refused.code, "redundancy" in refused.err) == (5, True)
        _is_whole(trap, good)
    finally:
        _manage(trap, "retention", "clear")


def test_trap_3_names_that_begin_alike(trap: Rig) -> None:
    container, store = trap.reader.container, trap.reader.store
    host_id = trap.cluster.nodes[0].host_id
    pack = secrets.token_hex(32)
    names = [f"packs/{pack[:2]}/{pack}", "backups/of-another/manifest.json"]
    neighbours = [f"{container}2", f"{container}2.{host_id}", f"{container}.{host_id}0"]
    for neighbour in neighbours:
        store.make(neighbour)
        for name in names:
            store.put(neighbour, name, b"of somebody else")
    _manage(trap, "backup", "delete", trap.created(*_SELECTION)["id"], "--wait")
    _let_packs_be_due(trap)
    assert _manage(trap, "repository", "collect")["total"]["freed_packs"] > 0
    for neighbour in neighbours:
        for name in names:
            assert store.get(neighbour, name) == b"of somebody else"


def test_trap_4_backup_without_its_data_is_no_backup(trap: Rig) -> None:
    trap.proxy.fail(method="PUT", path_contains="/packs/", status=403)
    trap.failed(*_SELECTION)
    trap.proxy.clear()
    (failed, *_) = _manage(trap, "backup", "list", "--status", "CREATE_FAILED")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        trap.reader.manifest(failed["id"])


def test_trap_8_loss_of_a_manifest_costs_no_other_backup(trap: Rig) -> None:
    """Its own backup is whole again once the manifest is put back, also after collections."""
    first, second = trap.created(*_SELECTION), trap.created(*_SELECTION)
    name = f"backups/{first['id']}/manifest.json"
    body = trap.reader.object(name)
    trap.reader.store.delete(trap.reader.container, name)
    damaged = trap.deployment.manage("backup", "verify", first["id"])
    assert (damaged.code, "manifest" in damaged.err) == (1, True)
    _manage(trap, "backup", "delete", second["id"], "--wait")
    for _ in range(2):
        trap.deployment.manage("repository", "collect", "--grace", "0")
    third = trap.created(*_SELECTION)
    _is_whole(trap, third)
    trap.reader.store.put(trap.reader.container, name, body)
    _is_whole(trap, first)
    compare(trap, third, [_TABLE])


def test_trap_9_two_owners_of_one_collection(trap: Rig) -> None:
    """The conductor of a collection is stalled; another one ends it, and the first goes on."""
    _manage(trap, "backup", "delete", trap.created(*_SELECTION)["id"], "--wait")
    _let_packs_be_due(trap)
    kept = trap.created(*_SELECTION)
    trap.proxy.hang(method="PUT", path_contains="/collect/")
    first, second = trap.deployment.conductor, trap.deployment.second_conductor()
    with ThreadPoolExecutor(1) as pool:
        collection = pool.submit(_manage, trap, "repository", "collect")
        try:
            wait_for(lambda: trap.proxy.held, deadline=60, what="the first look")
            first.pause()
            second.start()
            wait_for(
                lambda: any(o.endswith(f":{second.pid}") for o in trap.deployment.owners_of_jobs()),
                deadline=60,
                what="the adoption",
            )
            trap.proxy.clear()
            assert collection.result(timeout=180)["status"] == "DONE"
        finally:
            trap.proxy.clear()
            first.resume()
            second.stop()
    wait_for(
        lambda: "is left to another conductor" in first.tail(200),
        deadline=60,
        what="the resumed conductor's end of the job",
    )
    _is_whole(trap, kept)
    compare(trap, kept, [_TABLE])
