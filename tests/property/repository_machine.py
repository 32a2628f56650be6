# SPDX-License-Identifier: Apache-2.0
"""The rules of backups, deletions and collections; ``repository_harm.py`` has more.

``repository_world.py`` has the nodes, the store and the model; ``repository_deletion.py`` and
``repository_collection.py`` remove things; ``repository_promises.py`` has what must be true.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from magnetodb_backup.domain.retention.policy import Policy
from magnetodb_backup.repository.format.names import node_container
from tests.lab.emulator.faults import CALM, ROUGH, Faults
from tests.property.repository_catalogue import Status
from tests.property.repository_collection import GRACE, LEASE, Collector
from tests.property.repository_deletion import Deletions
from tests.property.repository_parts import Parts
from tests.property.repository_promises import Promises
from tests.property.repository_world import CONTAINER, HOSTS, Kill, Request, World
from tests.unit.repository.disk import CLUSTER, PACK_SIZE, PREFIX, noise

# Several files share a pack; one fills a pack, one needs two; content may repeat; one is empty.
SIZES = (0, 1, PACK_SIZE // 3, PACK_SIZE // 2, PACK_SIZE, 2 * PACK_SIZE - 1)
hosts = st.sampled_from(HOSTS)
names = st.sampled_from([f"nb-{n}-big-Data.db" for n in range(6)])
kills = st.none() | st.tuples(st.integers(0, 12), st.booleans())
numbers = st.integers(0, 1_000)
# The request before which something else happens: of this kind, the one with this number.
requests = st.tuples(st.sampled_from(["PUT", "DELETE", "HEAD", "LIST", "GET"]), st.integers(0, 3))
policies = st.builds(
    Policy, redundancy=st.integers(1, 3), window_days=st.integers(0, 2), daily=st.integers(0, 2),
    floor=st.integers(1, 2),
)  # fmt: skip


class CollectionMachine(RuleBasedStateMachine):
    """The rules. One that removes data, or brings it back, belongs beside ``delete``.

    Such a rule calls the service with ``world.driver`` and may set ``world.store.kill_at`` first.
    If it makes a backup exist or not, it calls ``world.settle``. Nothing else is needed: the
    invariant fails if a pack is gone that a backup needs.
    """

    parts = Parts()

    @initialize(backed_up=st.booleans())
    def begin(self, backed_up: bool) -> None:
        self.directory = tempfile.TemporaryDirectory()
        root = Path(self.directory.name)
        self.world = World(root, self.parts)
        self.promises, self.deletions = Promises(self.world), Deletions(self.world)
        self.collector = Collector(self.world, root, self.parts)
        for seed, host in enumerate(HOSTS):
            self._write_files(host, 2000 + seed)
        if backed_up:
            self.world.back_up()

    # The nodes' files.

    @rule(
        host=hosts, name=names, size=st.sampled_from(SIZES), seed=st.integers(0, 8),
        in_place=st.booleans(),
    )  # fmt: skip
    def write(self, host: str, name: str, size: int, seed: int, in_place: bool) -> None:
        self.world.write(host, name, noise(seed, size), in_place=in_place)

    @rule(host=hosts, seed=st.integers(10, 1000))
    def write_many(self, host: str, seed: int) -> None:
        self._write_files(host, seed)

    def _write_files(self, host: str, seed: int) -> None:
        for number in range(4):
            content = noise(10 * seed + number, SIZES[2 + number % 4])
            self.world.write(host, f"nb-{number}-big-Data.db", content, in_place=False)

    @rule(host=hosts, name=names)
    def drop(self, host: str, name: str) -> None:
        self.world.drop(host, name)

    # What the service does.

    @rule(repeat=st.booleans(), with_catalogue=st.booleans())
    def back_up(self, repeat: bool, with_catalogue: bool) -> None:
        healed, reported = list(self.promises.must_be_healed()), set(self.world.reported)
        self.world.back_up(repeat=repeat, with_catalogue=with_catalogue)
        self.promises.check_new_backup(max(self.world.backups), reported)
        left = [pack for pack in healed if not self.world.is_whole(pack)]
        assert left == [], f"the node has the bytes of packs that were not stored again: {left}"

    # What removes data, and brings it back.

    @precondition(lambda self: self.world.backups)
    @rule(which=numbers, killed_at=kills)
    def destroy(self, which: int, killed_at: Kill | None) -> None:
        self._finish_undeletions()
        self.deletions.destroy(self._chosen(which), killed_at)

    @precondition(lambda self: self._deletable())
    @rule(which=numbers, killed_at=kills)
    def delete(self, which: int, killed_at: Kill | None) -> None:
        deletable = self._deletable()
        self.deletions.delete(deletable[which % len(deletable)], killed_at)

    @precondition(lambda self: self._undeletable())
    @rule(which=numbers, killed_at=kills)
    def undelete(self, which: int, killed_at: Kill | None) -> None:
        undeletable = self._undeletable()
        self.deletions.undelete(undeletable[which % len(undeletable)], killed_at)

    @precondition(lambda self: self.deletions.due())
    @rule(killed_at=kills)
    def purge(self, killed_at: Kill | None) -> None:
        self.deletions.purge(killed_at)

    @precondition(lambda self: self.world.backups)
    @rule(policy=policies)
    def let_expire(self, policy: Policy) -> None:
        self.deletions.let_expire(policy)

    @rule(host=hosts, killed_at=kills, keep_index=st.booleans(), with_catalogue=st.booleans())
    def collect(
        self, host: str, killed_at: Kill | None, keep_index: bool, with_catalogue: bool
    ) -> None:
        self.collector.collect(
            host, killed_at, keep_index=keep_index, with_catalogue=with_catalogue
        )

    @rule(
        host=hosts, killed_at=kills, keep_index=st.booleans(), percent=st.sampled_from([40, 90]),
    )  # fmt: skip
    def repack(self, host: str, killed_at: Kill | None, keep_index: bool, percent: int) -> None:
        self.collector.collect(host, killed_at, keep_index=keep_index, repack=percent)

    @precondition(lambda self: self.world.saved)
    @rule(
        which=numbers, host=hosts, killed_at=kills,
        rival=st.sampled_from(["collection", "backup", "nothing"]), request=requests,
    )  # fmt: skip
    def collect_what_a_backup_needs_again(
        self, which: int, host: str, killed_at: Kill | None, rival: str, request: Request
    ) -> None:
        """A pack may be dead for long enough when a backup of the same node needs it again."""
        self._let_packs_be_due(which, host)
        if rival == "collection":
            with self.world.beside(request, [host], lambda: self.collector.collect(host)):
                self.world.back_up()
        elif rival == "backup":
            with self.world.beside(request, HOSTS, self.world.back_up):
                self.collector.collect(host)
        else:
            self.collector.collect(host, killed_at)
            self.world.back_up()

    @precondition(lambda self: self.world.saved)
    @rule(
        which=numbers, host=hosts, silent_from=st.sampled_from([None, *range(7)]),
        in_sweep=st.booleans(), stall=st.sampled_from([0.0, LEASE / 2, LEASE * 2, GRACE]),
        collects=st.booleans(),
    )  # fmt: skip
    def collect_a_node_that_comes_back(
        self,
        which: int,
        host: str,
        silent_from: int | None,
        in_sweep: bool,
        stall: float,
        collects: bool,
    ) -> None:
        """Another worker collects, is stalled, and goes on when the node is back."""

        def come_back() -> None:
            self.world.back_up()
            if collects:
                self.collector.collect(host)

        self._let_packs_be_due(which, host)
        self.collector.collect_by_another(host, silent_from, stall, come_back, in_sweep=in_sweep)

    def _let_packs_be_due(self, which: int, host: str) -> None:
        """Let a first look be old enough, and give the node the files of a destroyed backup."""
        numbers = sorted(self.world.saved)
        number = numbers[which % len(numbers)]
        if which % 2:  # a backup that shares nothing
            self._write_files(host, 10_000 + self.world.number)
            self.world.back_up()
            number = self.world.number
        self._finish_undeletions()
        self.deletions.destroy(number)
        self.deletions.purge()
        self.collector.collect(host)
        self.world.store.clock.sleep(GRACE * 1.1)
        for name, content in self.world.saved[number].contents[host].items():
            self.world.write(host, name, content, in_place=False)

    def _deletable(self) -> list[int]:
        """Return complete backups, and those whose deletion was not finished."""
        records = self.world.catalogue.records
        found = self.world.catalogue.numbers(Status.CREATED, Status.DELETING)
        return [n for n in found if n in self.world.saved and not records[n].doomed]

    def _undeletable(self) -> list[int]:
        """Return the backups that can be undeleted, and those whose undeletion was not finished."""
        records, now = self.world.catalogue.records, self.world.now()
        return [
            number
            for number in self.world.catalogue.numbers(Status.DELETED, Status.UNDELETING)
            if records[number].status is Status.UNDELETING
            or (records[number].undelete_until or 0.0) > now
        ]

    def _finish_undeletions(self) -> None:
        for number in self.world.catalogue.numbers(Status.UNDELETING):
            self.deletions.undelete(number)

    @rule(
        weather=st.sampled_from([CALM, ROUGH]), seed=st.integers(0, 1000),
        lag=st.sampled_from([0.0, 60.0, 86400.0]), storm=st.sampled_from([0, 0, 5, 600]),
        status=st.sampled_from([498, 503]),
    )  # fmt: skip
    def change_the_weather(
        self, weather: Faults, seed: int, lag: float, storm: int, status: int
    ) -> None:
        self.world.store.faults = replace(weather, seed=seed, lag=lag)
        self.world.store.storm(storm, status=status, retry_after=storm // 2)

    @rule(seconds=st.integers(1, 100_000) | st.just(int(GRACE * 1.1)))
    def wait(self, seconds: int) -> None:
        self.world.store.clock.sleep(seconds)

    # What must be true.

    @invariant()
    def nothing_that_a_backup_needs_is_gone(self) -> None:
        self.promises.check_store()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.store.clear()
            for number in self.world.backups:
                self.promises.check_verification(number, read_data=True)
                for host in HOSTS:
                    self.promises.check_restore(number, host)
            self._remove_everything()
        finally:
            self.directory.cleanup()

    def _remove_everything(self) -> None:
        """What is destroyed and collected leaves nothing."""
        self._finish_undeletions()
        self.world.store.forget_ghosts()
        for number in self.world.catalogue.records:
            self.deletions.destroy(number)
        for _ in range(2):
            self.world.store.clock.sleep(GRACE * 1.1)
            for host in HOSTS:
                self.collector.collect(host)
        for container in (CONTAINER, *(node_container(PREFIX, CLUSTER, host) for host in HOSTS)):
            left = [info.name for info in self.world.raw.list(container)]
            assert left == [], f"{container} still has {left}"

    def _chosen(self, which: int) -> int:
        return sorted(self.world.backups)[which % len(self.world.backups)]
