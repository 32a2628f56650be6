# SPDX-License-Identifier: Apache-2.0
"""A worker reads the packs of a node backup; a new process continues where the last one ended."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.domain.backup.records import Progress
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.errors import Cancelled
from magnetodb_backup.repository.findings import NodeChecked
from magnetodb_backup.repository.format.names import node_container, pack_name
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.tasks import TaskContext
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import HOST
from tests.unit.worker.working import PREFIX, Working

JOB = "dddddddd-dddd-4ddd-8ddd-dddddddddddd"
ADDRESS = "10.0.0.7"


class Dies(Exception):
    """The process dies."""


class Reading:
    """A node whose backup of several packs is in the store; it counts which packs are read."""

    def __init__(self, root: Path) -> None:
        self.working = Working(root)
        node = self.working.node
        for number in range(3, 8):  # a pack each
            node.write(node.tables[0], f"nb-{number}-big-Data.db", os.urandom(1000))
        self.working.do(TaskKind.PREPARE)
        upload = self.working.do_all(TaskKind.SNAPSHOT, TaskKind.UPLOAD)
        self.manifest: dict[str, Any] = asdict(upload.manifest)
        self.packs = sorted(self.working.repository.packs())
        self.read: Counter[str] = Counter()
        self.die_at = 0  # the number of the read that fails
        self.working.store.before_read = self._before_read

    def _before_read(self, name: str) -> None:
        if name.startswith("packs/"):
            if self.die_at and sum(self.read.values()) + 1 >= self.die_at:
                raise Dies
            self.read[name.rpartition("/")[2]] += 1

    def run(self, context: TaskContext | None = None, **more: Any) -> NodeChecked:
        """Let a new process do the task."""
        settings = {"journal_every": 0.0, **more.pop("settings", {})}
        self.working.restart(**settings)
        arguments = {
            "job_id": JOB, "source": HOST, "address": ADDRESS, "manifest": self.manifest, **more,
        }  # fmt: skip
        found = self.working.do(TaskKind.VERIFY_READ, context, **arguments)
        assert isinstance(found, NodeChecked)
        return found

    def notes(self) -> Path:
        (path,) = (self.working.state_dir / "verification").glob("read-*")
        return path

    def interrupt(self, at: int) -> Counter[str]:
        """Let a process die before its read number ``at``; return what it has read."""
        self.die_at = at
        with pytest.raises(Dies):
            self.run()
        self.die_at = 0
        found, self.read = self.read, Counter()
        self.working.store.before_read = self._before_read
        return found


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path)


def test_every_pack_is_read_and_compared(reading: Reading) -> None:
    context = TaskContext()
    checked = reading.run(context)
    assert len(reading.packs) >= 5
    assert reading.read == Counter(reading.packs)
    assert (checked.host_id, checked.problem_count) == (HOST, 0)
    assert checked.packs == checked.packs_read == len(reading.packs)
    progress = context.progress
    assert isinstance(progress, Progress)
    assert progress.files_done == progress.files_total == checked.files
    assert progress.bytes_done == progress.bytes_total == checked.bytes_read == checked.bytes


@pytest.mark.parametrize("number", range(5))
def test_damage_of_each_pack_is_found(reading: Reading, number: int) -> None:
    pack, container = reading.packs[number], node_container(PREFIX, CLUSTER, HOST)
    reading.working.store.change(container, pack_name(pack), lambda body: bytes(len(body)))
    checked = reading.run()
    assert [(p.host_id, p.kind, p.pack) for p in checked.problems] == [(HOST, "corrupt", pack)]
    assert {keyspace for keyspace, _, _ in checked.tables} == {"ks"}
    for _, _, detail in checked.tables:
        assert detail.startswith(f"node {ADDRESS}: corrupt pack {pack}")


@pytest.mark.parametrize("at", range(1, 6))
def test_a_new_process_continues(reading: Reading, at: int) -> None:
    before = reading.interrupt(at)
    assert sum(before.values()) == at - 1
    checked = reading.run()
    assert before + reading.read == Counter(reading.packs)  # each pack once
    assert checked.packs_read == len(reading.packs)
    assert checked.bytes_read == checked.bytes
    reading.read.clear()
    assert reading.run() == checked  # the answer may be lost
    assert not reading.read


def test_damage_found_before_the_end_of_the_process_is_reported(reading: Reading) -> None:
    container = node_container(PREFIX, CLUSTER, HOST)
    reading.working.store.delete(container, pack_name(reading.packs[0]))
    reading.interrupt(3)
    checked = reading.run()
    assert [(p.kind, p.pack) for p in checked.problems] == [("missing", reading.packs[0])]
    assert checked.tables != ()


@pytest.mark.parametrize("rest", [b"", b"{", b'{"pack": 1}\n', b"\x00\x00\n"])
def test_torn_notes_are_cut_off(reading: Reading, rest: bytes) -> None:
    """What is appended afterwards must be readable."""
    before = reading.interrupt(4)
    notes = reading.notes()
    notes.write_bytes(notes.read_bytes() + rest)
    after = reading.interrupt(2)
    reading.run()
    assert before + after + reading.read == Counter(reading.packs)


def test_notes_that_claim_what_was_not_read_are_not_used(reading: Reading) -> None:
    reading.interrupt(4)
    notes = reading.notes()
    first, *lines = notes.read_bytes().splitlines()
    last = json.loads(lines[-1])
    last["pack"] = reading.packs[-1]
    notes.write_bytes(b"\n".join([first, *lines[:-1], json.dumps(last).encode(), b""]))
    reading.run()
    assert reading.read == Counter(reading.packs)


def test_notes_on_something_else_are_not_used(reading: Reading) -> None:
    """The same job has another sample: a program with an error, but nothing may be left out."""
    sample = Sample.of(99.99, 0)
    reading.run(sample=asdict(sample))
    reading.read.clear()
    reading.run()
    assert reading.read == Counter(reading.packs)


def test_another_job_reads_everything(reading: Reading) -> None:
    reading.run()
    reading.run(job_id="eeeeeeee-dddd-4ddd-8ddd-dddddddddddd")
    assert set(reading.read.values()) == {2}


def test_old_notes_are_removed(reading: Reading) -> None:
    reading.run()
    old = reading.notes().with_name("read-x-y.jsonl")
    old.touch()
    os.utime(old, (1, 1))
    reading.run()
    assert not old.exists()


def test_a_sample_is_read(reading: Reading) -> None:
    sample = Sample.of(50, 4)
    checked = reading.run(sample=asdict(sample))
    assert set(reading.read) == {pack for pack in reading.packs if sample.has(pack)}
    assert (checked.packs, checked.packs_read) == (len(reading.packs), len(reading.read))


def test_the_result_is_bounded(reading: Reading) -> None:
    for pack in reading.packs:
        container = node_container(PREFIX, CLUSTER, HOST)
        reading.working.store.delete(container, pack_name(pack))
    checked = reading.run(described=1, further=2)
    assert [p.pack for p in checked.problems] == reading.packs[:1]
    assert list(checked.further_packs) == reading.packs[1:3]
    assert checked.problem_count == len(reading.packs)


def test_cancelling_ends_it_and_keeps_the_notes(reading: Reading) -> None:
    context = TaskContext()

    def cancel(name: str) -> None:
        reading._before_read(name)
        if sum(reading.read.values()) == 2:
            context.cancel()

    reading.working.store.before_read = cancel
    with pytest.raises(Cancelled):
        reading.run(context)
    reading.working.store.before_read = reading._before_read
    read = reading.read.copy()
    reading.run()
    assert sum(reading.read.values()) - sum(read.values()) == len(reading.packs) - 1


def test_one_task_reads_at_a_time(reading: Reading) -> None:
    """A conductor may start a second attempt while the first one hangs in a read."""
    reading.working.restart(journal_every=0.0)
    begun, go_on, contexts = threading.Event(), threading.Event(), [TaskContext(), TaskContext()]

    def hang(name: str) -> None:
        reading._before_read(name)
        if name.startswith("packs/") and not begun.is_set():
            begun.set()
            assert go_on.wait(30)

    reading.working.store.before_read = hang
    arguments = {"job_id": JOB, "source": HOST, "address": ADDRESS, "manifest": reading.manifest}

    def attempt(context: TaskContext) -> None:
        reading.working.do(TaskKind.VERIFY_READ, context, **arguments)

    threads = [threading.Thread(target=attempt, args=[each], daemon=True) for each in contexts]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    while contexts[1].activity == 0:  # it waits, and shows that it is alive
        assert threads[1].is_alive()
        threading.Event().wait(0.01)
    assert sum(reading.read.values()) == 1
    go_on.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert reading.read == Counter(reading.packs)


def test_the_rate_is_asked_for(reading: Reading) -> None:
    asked: list[int] = []

    def rate() -> int:
        asked.append(1)
        return 10**9

    reading.run(settings={"verify_rate": rate})
    assert len(asked) >= len(reading.packs)
