# SPDX-License-Identifier: Apache-2.0
"""No request of a collection is sent, or sent again, once it may not change the container."""

from __future__ import annotations

from pathlib import Path

import pytest

from magnetodb_backup.errors import ConductorSilent, StorageUnavailable
from magnetodb_backup.repository.collect.records import Caller
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.storage.retrying import Retrying
from tests.lab.emulator.clock import SteppingClock
from tests.unit.repository.collect.depot import Depot
from tests.unit.repository.disk import CLUSTER, HOST, PACK_SIZE, PREFIX, noise


class Silence:
    """The conductor is silent once ``over`` is set; counts the requests that were sent."""

    def __init__(self, depot: Depot, name: str) -> None:
        self.over, self.sent, self._name = False, 0, name
        depot.store.before_put = depot.store.before_delete = self._fail
        clock = SteppingClock()
        driver = Retrying(depot.store, deadline=300.0, clock=clock.now, sleep=clock.sleep)
        depot.disk.repository = NodeRepository(driver, PREFIX, CLUSTER, HOST)

    def may_delete(self) -> None:
        if self.over:
            raise ConductorSilent("no conductor has asked")

    def _fail(self, name: str) -> None:
        if name.startswith(self._name):
            self.sent, self.over = self.sent + 1, True
            raise StorageUnavailable("overloaded")


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    """The only backup is deleted, and its pack is due."""
    depot = Depot(tmp_path)
    depot.disk.write("a", noise(1, PACK_SIZE))
    depot.backup(1)
    depot.delete(1)
    depot.collect()
    depot.later()
    return depot


@pytest.mark.parametrize("name", ["packs/", "collect/"])
def test_trap_9_request_is_not_repeated_after_the_lease(depot: Depot, name: str) -> None:
    """The node may be back in the ring by then, and its backup has seen the pack."""
    silence, packs = Silence(depot, name), depot.packs()
    with pytest.raises(ConductorSilent):
        depot.collect(own=False, caller=Caller(may_delete=silence.may_delete))
    assert silence.sent == 1
    assert depot.packs() == packs


def test_request_is_repeated_while_the_conductor_asks(depot: Depot) -> None:
    silence = Silence(depot, "packs/")
    with pytest.raises(StorageUnavailable, match="tried"):
        depot.disk.repository.guarded(lambda: None).delete_pack("0" * 64)
    assert silence.sent > 1
