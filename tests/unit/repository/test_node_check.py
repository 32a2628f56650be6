# SPDX-License-Identifier: Apache-2.0
"""A node backup is read pack by pack; an interrupted reading continues, and leaves nothing out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.errors import Cancelled
from magnetodb_backup.repository.check_journal import Checked
from magnetodb_backup.repository.findings import NodeChecked
from magnetodb_backup.repository.format.names import pack_name
from magnetodb_backup.repository.node_check import CheckedNode, CheckHooks, CheckPlan, check_node
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import ONE_BY_ONE, PACK_SIZE, Disk, backup_id, noise
from tests.unit.repository.stores import Store


class Memory:
    """A journal in memory."""

    def __init__(self) -> None:
        self.entries: list[Checked] = []
        self.cleared = 0

    def load(self) -> Iterator[Checked]:
        yield from list(self.entries)

    def add(self, entry: Checked) -> None:
        self.entries.append(entry)

    def clear(self) -> None:
        self.cleared += 1
        self.entries.clear()


class Dies(Exception):
    """The process dies."""


class Node:
    """A node backup of small files, a large one and an empty one; it counts the packs read."""

    def __init__(self, tmp_path: Path) -> None:
        self.disk = Disk(tmp_path, Store())
        for number in range(20):
            self.disk.write(f"f{number:02d}", noise(number, PACK_SIZE // 10))
        self.disk.write("large", noise(99, 3 * PACK_SIZE + 10))
        self.disk.write("empty", b"")
        commit(self.disk.cluster, 1, {self.disk.host_id: self.disk.upload(**ONE_BY_ONE)})
        self.packs = sorted(self.disk.repository.packs())
        self.read: Counter[str] = Counter()
        self.die_at = 0  # the number of the read that fails
        self.disk.store.before_read = self._before_read
        (share,) = self.disk.cluster.read_backup(backup_id(1)).nodes
        self.node = CheckedNode.of(share)

    def _before_read(self, name: str) -> None:
        if name.startswith("packs/"):
            if self.die_at and sum(self.read.values()) + 1 >= self.die_at:
                raise Dies
            self.read[name.rpartition("/")[2]] += 1

    def check(
        self, journal: Memory | None = None, hooks: CheckHooks | None = None, **plan: Any
    ) -> NodeChecked:
        return check_node(
            self.disk.cluster,
            self.disk.repository,
            backup_id(1),
            self.node,
            CheckPlan(**{"read_data": True, "journal_every": 0.0, **plan}),
            hooks or CheckHooks(lambda: None),
            journal,
        )

    def damage(self, number: int) -> str:
        self.disk.store.before_read = lambda name: None
        self.disk.damage(self.packs[number], lambda body: bytes(len(body)))
        self.disk.store.before_read = self._before_read
        return self.packs[number]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def kinds(checked: NodeChecked) -> list[tuple[str, str]]:
    return [(p.kind, p.pack) for p in checked.problems]


def test_every_pack_is_read(node: Node) -> None:
    checked = node.check()
    assert checked.problem_count == 0
    assert (checked.files, checked.packs, checked.packs_read) == (22, 6, 6)
    assert set(node.read) == set(node.packs)
    # The parts of the large file are read twice: as packs, and as a file.
    assert sum(node.read.values()) == 6 + 4
    assert checked.bytes_read == 2 * (3 * PACK_SIZE + 10) + 20 * PACK_SIZE // 10


def test_progress_ends_with_all_files_and_bytes(node: Node) -> None:
    shown: list[Progress] = []
    checked = node.check(hooks=CheckHooks(lambda: None, shown.append))
    last = shown[-1]
    assert last.files_done == last.files_total == checked.files
    assert last.bytes_done == last.bytes_total == checked.bytes_read
    assert [p.bytes_done for p in shown] == sorted(p.bytes_done for p in shown)


@pytest.mark.parametrize("die_at", range(1, 11))
def test_another_attempt_continues_wherever_the_first_one_died(node: Node, die_at: int) -> None:
    """Between both attempts each pack is read, and none of them twice that was finished."""
    whole, journal = node.check(), Memory()
    node.read.clear()
    node.die_at = die_at
    with pytest.raises(Dies):
        node.check(journal)
    before = node.read.copy()
    node.die_at = 0
    again = node.check(journal)
    assert set(node.read) == set(node.packs)
    assert again == replace(whole, bytes_read=again.bytes_read)
    # The file of several packs is repeated from its begin.
    assert sum(node.read.values()) - sum(before.values()) <= 10 - min(die_at - 1, 6)
    assert journal.entries[-1].bytes_read == again.bytes_read


@pytest.mark.parametrize("damaged", range(6))
def test_what_the_first_attempt_found_is_found(node: Node, damaged: int) -> None:
    pack, journal = node.damage(damaged), Memory()
    whole = node.check()
    assert ("corrupt", pack) in kinds(whole)
    node.read.clear()
    node.die_at = 6
    with pytest.raises(Dies):
        node.check(journal)
    node.die_at = 0
    again = node.check(journal)
    assert again == replace(whole, bytes_read=again.bytes_read)


def test_finished_work_is_not_done_again(node: Node) -> None:
    journal = Memory()
    whole = node.check(journal)
    node.read.clear()
    assert node.check(journal) == whole
    assert not node.read


def test_cancelling_keeps_what_was_read(node: Node) -> None:
    journal, left = Memory(), [3]

    def cancel() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        node.check(journal, CheckHooks(cancel))
    assert [entry.packs for entry in journal.entries] == [1, 2, 3]


def test_notes_that_claim_a_pack_that_was_not_read_are_not_used(node: Node) -> None:
    """The last pack of the notes must be as many packs from the first one as they count."""
    pack, journal = node.damage(1), Memory()
    journal.add(Checked(pack=node.packs[2], packs=2))
    checked = node.check(journal)
    assert journal.cleared == 1
    assert set(node.read) == set(node.packs)
    assert kinds(checked) == [("corrupt", pack)]
    assert checked.packs_read == 6


def test_notes_are_gathered(node: Node) -> None:
    journal = Memory()
    node.check(journal, journal_every=3600.0)
    assert len(journal.entries) == 1
    node.die_at = 1
    assert node.check(journal, journal_every=3600.0).packs_read == 6


def test_problems_beyond_the_bound_are_counted_after_an_interruption(node: Node) -> None:
    for pack in node.packs:
        node.disk.lose(pack)
    whole, journal = node.check(described=2, further=3), Memory()
    assert [p.pack for p in whole.problems] == node.packs[:2]
    assert list(whole.further_packs) == node.packs[2:5]
    assert whole.problem_count == 6
    node.read.clear()
    node.die_at = 5
    with pytest.raises(Dies):
        node.check(journal, described=2, further=3)
    node.die_at = 0
    assert node.check(journal, described=2, further=3) == whole
    assert all(not p.detail for entry in journal.entries[2:] for p in entry.problems)


# Samples


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_sample_is_read_and_the_others_are_looked_for(
    node: Node, percent: float, seed: int
) -> None:
    sample = Sample.of(percent, seed)
    chosen = {pack for pack in node.packs if sample.has(pack)}
    node.disk.store.heads.clear()
    checked = node.check(sample=sample)
    assert checked.problem_count == 0
    assert set(node.read) == chosen
    heads = {name for name in node.disk.store.heads if name.startswith("packs/")}
    assert heads == {pack_name(pack) for pack in set(node.packs) - chosen}
    assert (checked.packs, checked.packs_read) == (6, len(chosen))


@pytest.mark.parametrize("percent", [7, 30, 33.33, 50, 99])
def test_successive_samples_read_all_packs(node: Node, percent: float) -> None:
    sample = Sample.of(percent, 11)
    for _ in range(sample.runs):
        node.check(sample=sample)
        sample = sample.next()
    assert set(node.read) == set(node.packs)


def test_damage_outside_of_a_sample_is_not_found_but_a_loss_is(node: Node) -> None:
    sample = Sample.of(50, 0)
    outside = [n for n, pack in enumerate(node.packs) if not sample.has(pack)]
    assert outside, "the names of these packs must not all be in one half"
    node.damage(outside[0])
    assert node.check(sample=sample).problem_count == 0
    assert kinds(node.check(sample=sample.next())) == [("corrupt", node.packs[outside[0]])]
    node.disk.lose(node.packs[outside[0]])
    assert kinds(node.check(sample=sample)) == [("missing", node.packs[outside[0]])]


def test_interrupted_sample_continues(node: Node) -> None:
    sample, journal = Sample.of(80, 1), Memory()
    chosen = {pack for pack in node.packs if sample.has(pack)}
    node.disk.lose(next(pack for pack in node.packs if pack not in chosen))
    whole = node.check(sample=sample)
    assert whole.problem_count == 1
    node.read.clear()
    node.die_at = 2
    with pytest.raises(Dies):
        node.check(journal, sample=sample)
    node.die_at = 0
    assert node.check(journal, sample=sample) == whole
    assert node.read == Counter(chosen)
