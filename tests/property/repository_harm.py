# SPDX-License-Identifier: Apache-2.0
"""The rules of what may happen to a repository: all of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from magnetodb_backup.repository.format.names import node_manifest_name
from magnetodb_backup.storage.driver import ObjectInfo
from tests.property.repository_machine import CollectionMachine, hosts, numbers
from tests.property.repository_world import CONTAINER, HOSTS, Kill
from tests.unit.repository.disk import backup_id, noise


class RepositoryMachine(CollectionMachine):
    """Backups also die, are verified and restored, and packs are harmed and healed."""

    @rule(
        killed_at=st.tuples(st.integers(0, 12), st.booleans()), keep_index=st.booleans(),
        repeat=st.booleans(),
    )  # fmt: skip
    def back_up_and_be_killed(self, killed_at: Kill, keep_index: bool, repeat: bool) -> None:
        self.world.back_up(killed_at=killed_at, keep_index=keep_index, repeat=repeat)

    # What is asked of the service.

    @precondition(lambda self: self.world.backups)
    @rule(which=numbers, read_data=st.booleans())
    def verify(self, which: int, read_data: bool) -> None:
        self.promises.check_verification(self._chosen(which), read_data=read_data)

    @precondition(lambda self: self.world.backups)
    @rule(which=numbers, host=hosts)
    def restore(self, which: int, host: str) -> None:
        self.promises.check_restore(self._chosen(which), host)

    # What happens to the service.

    @rule(host=hosts)
    def lose_index(self, host: str) -> None:
        self.world.lose_index(host)

    @precondition(lambda self: self.world.backups)
    @rule(which=numbers, how=st.sampled_from(["lost", "ghost", "cut", "changed"]))
    def harm(self, which: int, how: str) -> None:
        """Harm a pack of the newest backup, which the next one would use again."""
        newest = self.world.backups[max(self.world.backups)]
        self._harm(sorted(newest.packs()), which, how)

    @precondition(lambda self: self.world.stored_packs())
    @rule(which=numbers, how=st.sampled_from(["lost", "ghost", "cut", "changed"]))
    def harm_any(self, which: int, how: str) -> None:
        self._harm(self.world.stored_packs(), which, how)

    @precondition(lambda self: self.world.backups)
    @rule(
        which=numbers, how=st.sampled_from(["lost", "ghost", "cut", "changed"]),
        new=st.booleans(), seed=st.integers(5000, 5100),
    )  # fmt: skip
    def find_harm_and_heal_it(self, which: int, how: str, new: bool, seed: int) -> None:
        """A ``new`` file comes before all others, which must not share the pack with it."""
        self.harm(which, how)
        self.verify(max(self.world.backups), read_data=True)
        for host in HOSTS if new else ():
            self.world.write(host, "nb--1-big-Data.db", noise(seed, 10), in_place=False)
        self.back_up(repeat=False, with_catalogue=True)

    @rule(host=hosts, number=st.integers(90, 92))
    def list_a_manifest_that_never_was(self, host: str, number: int) -> None:
        name = node_manifest_name(backup_id(number), host)
        self.world.store.haunt(CONTAINER, ObjectInfo(name, 100, ""))

    def _harm(self, packs: Sequence[tuple[str, str]], which: int, how: str) -> None:
        whole = [pack for pack in packs if pack not in self.world.behind]
        if whole:
            self.world.harm(whole[which % len(whole)], how)
