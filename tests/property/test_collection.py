# SPDX-License-Identifier: Apache-2.0
"""No order of backups, deletions, collections and crashes removes a pack that a backup needs.

The model knows the files of each backup. A backup may begin at each deletion of a collection, if
the lock of the worker lets it; each request that writes may be the last one of its process; the
catalogue, the index or the listing may lack every manifest. Collections may repack.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from magnetodb_backup.domain.backup.collection import KnownManifest, Repacking
from magnetodb_backup.errors import StorageUnavailable
from magnetodb_backup.repository.format.names import FIRST_LOOK
from magnetodb_backup.tasks.codec import encode
from magnetodb_backup.tasks.collection import Collect
from magnetodb_backup.worker.backup.containers import Containers
from magnetodb_backup.worker.collect import CollectWork
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import (
    CLUSTER,
    ONE_BY_ONE,
    PACK_SIZE,
    PREFIX,
    Disk,
    backup_id,
    noise,
)
from tests.unit.repository.stores import Store
from tests.unit.worker.fake_node import FakeNode

GRACE = 1_000_000.0  # longer than any example runs
# At least one of catalogue, index and listing has the manifests.
LACKING = st.sampled_from(
    ["nothing", "catalogue", "listing", "index and listing", "index and catalogue"]
)
CRASHES = st.none() | st.integers(0, 8)
REPACKING = st.none() | st.sampled_from([Repacking(50, 1), Repacking(90, 1)])


class Died(StorageUnavailable):
    """The process ends here."""


class Repository(RuleBasedStateMachine):
    """One node's container, its worker, and the model."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.store = Store()
        self.disk = Disk(self.root, self.store)
        self.containers = Containers(self.root)
        self.disk.index_path = self.root / f"files-{self.disk.host_id}.sqlite"
        node = FakeNode(self.root / "node").local()
        work = CollectWork(node, self.store, self.containers, prefix=PREFIX, pack_size=PACK_SIZE)
        (self.handler,) = work.handlers()
        self.now, self.last = 0.0, 0
        self.kept: dict[int, Mapping[str, bytes]] = {}  # the files of each complete backup
        self.known: dict[int, KnownManifest] = {}
        self.looks: list[tuple[float, set[str]]] = []  # times, and the packs needed then
        self.writes_left: int | None = None
        self.begin_backup = False
        self.store.before_put = self._writes
        self.store.before_delete = self._deletes
        self.store.after_put = self._stored

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        try:
            for number in range(1, self.last + 1):  # jobs that died are taken up again
                if number not in self.kept:
                    self.disk.cluster.delete_backup(backup_id(number), [self.disk.host_id])
            self.collect(None, "nothing", beside=False)
            self.now += GRACE * 2
            self.collect(None, "nothing", beside=False)
            assert set(self.disk.repository.packs()) == self._live()
        finally:
            shutil.rmtree(self.root)

    # What happens.

    @rule(name=st.sampled_from("abcd"), seed=st.integers(0, 5))
    def write(self, name: str, seed: int) -> None:
        self.disk.write(name, noise(seed, PACK_SIZE))

    @rule(names=st.sets(st.sampled_from("efghijkl")), seed=st.integers(0, 5))
    def write_small(self, names: set[str], seed: int) -> None:
        """Write files that share packs."""
        for name in sorted(names):
            self.disk.write(name, noise(ord(name) * 10 + seed, PACK_SIZE // 5))

    @rule(name=st.sampled_from("abcdefghijkl"))
    def remove(self, name: str) -> None:
        (self.disk.root / name).unlink(missing_ok=True)

    @rule(crash=CRASHES)
    def backup(self, crash: int | None) -> None:
        with _death_is_survived(self, crash):
            self._backup()

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), crash=CRASHES)
    def delete(self, data: st.DataObject, crash: int | None) -> None:
        self._delete(data.draw(st.sampled_from(sorted(self.kept))), crash)

    def _delete(self, number: int, crash: int | None) -> None:
        del self.kept[number]
        del self.known[number]
        with _death_is_survived(self, crash):
            self.disk.cluster.delete_backup(backup_id(number), [self.disk.host_id])

    @rule(seconds=st.sampled_from([GRACE / 3, GRACE * 1.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def lose_index(self) -> None:
        self.disk.index_path.unlink(missing_ok=True)

    @rule(crash=CRASHES, lacking=LACKING, deleting=st.booleans(), repacking=REPACKING)
    def collect_again_later(
        self, crash: int | None, lacking: str, *, deleting: bool, repacking: Repacking | None
    ) -> None:
        for number in sorted(self.kept) if deleting else ():
            self._delete(number, None)
        self.collect(crash, lacking, beside=False, repacking=repacking)
        self.now += GRACE * 1.1
        self.collect(None, lacking, beside=True, repacking=repacking)

    @rule(crashes=st.tuples(CRASHES, CRASHES), lacking=LACKING, data=st.data())
    def repack_what_a_deletion_leaves(
        self, crashes: tuple[int | None, int | None], lacking: str, data: st.DataObject
    ) -> None:
        """Back up twice, with few of the first one's files in the second; delete the first."""
        self.write_small(set("efghijkl"), data.draw(st.integers(0, 5)))
        self._backup()
        for name in data.draw(st.sets(st.sampled_from("efghijkl"), min_size=4)):
            self.remove(name)
        self._backup()
        self._delete(self.last - 1, None)
        for crash in (*crashes, None):
            self.collect(crash, lacking, beside=True, repacking=Repacking(90, 1))
            self.now += GRACE * 1.1

    @rule(
        crash=CRASHES,
        lacking=LACKING,
        beside=st.booleans(),
        repacking=REPACKING,
    )
    def collect(
        self,
        crash: int | None,
        lacking: str,
        *,
        beside: bool,
        repacking: Repacking | None = None,
    ) -> None:
        if "index" in lacking:
            self.lose_index()
        known = [] if "catalogue" in lacking else list(self.known.values())
        hidden = "backups/" if "listing" in lacking else "nothing"
        self.store.unlisted = lambda name: name.startswith(hidden)
        self.begin_backup = beside
        task = Collect(
            host_id=self.disk.host_id,
            cluster=CLUSTER,
            source=self.disk.host_id,
            known=tuple(known),
            now=self.now,
            grace=GRACE,
            lease=60.0,
            repacking=repacking,
        )
        with _death_is_survived(self, crash):
            self.handler.perform(encode(task), TaskContext())
        self.store.unlisted = lambda name: False
        if beside and self.begin_backup:
            self.backup(None)  # it had to wait, or nothing was removed
        self.begin_backup = False

    # What must hold.

    @invariant()
    def every_backup_is_whole(self) -> None:
        for number, files in getattr(self, "kept", {}).items():
            assert self.disk.restored(number) == files, f"backup {number} is damaged"

    # Parts.

    def _backup(self) -> None:
        self.last += 1
        number, files = self.last, self.disk.contents()
        uploaded = self.disk.upload(number, **ONE_BY_ONE)
        assert uploaded.lost == frozenset()
        commit(self.disk.cluster, number, {self.disk.host_id: uploaded})
        self.kept[number] = files
        stored = uploaded.manifest
        self.known[number] = KnownManifest(
            backup_id(number), stored.size, stored.sha256, required=True
        )

    def _live(self) -> set[str]:
        """Return the packs in which the bytes of backups are now: see ``every_backup_is_whole``."""
        return {
            extent.pack
            for number in self.kept
            for entry in self.disk.entries(number).values()
            for extent in entry.extents
        }

    def _writes(self, name: str) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Died(f"at {name}")
            self.writes_left -= 1

    def _deletes(self, name: str) -> None:
        self._writes(name)
        if not name.startswith("packs/"):
            return
        if self.begin_backup and not self.containers.is_held(self.disk.host_id):
            self.begin_backup = False
            left, self.writes_left = self.writes_left, None
            self._backup()
            self.writes_left = left
        pack = name.rpartition("/")[2]
        seen = any(at <= self.now - GRACE + 60 and pack not in live for at, live in self.looks)
        assert seen, f"pack {pack} was removed before its grace period was over"

    def _stored(self, container: str, name: str) -> None:
        if name == FIRST_LOOK:
            self.looks.append((self.now, self._live()))


class _death_is_survived:  # noqa: N801 - reads as a part of a sentence
    """Let the process die at the write with this number; the next one finds what it has left."""

    def __init__(self, machine: Repository, crash: int | None) -> None:
        self._machine, self._crash = machine, crash

    def __enter__(self) -> None:
        self._machine.writes_left = self._crash

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._machine.writes_left = None
        return kind is not None and issubclass(kind, Died)


TestRepository = pytest.mark.timeout(600)(Repository.TestCase)
TestRepository.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
