# SPDX-License-Identifier: Apache-2.0
"""The data of a backup is read on the workers, and by the conductor where no worker can do it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from magnetodb_backup.conductor.verification.progress import ProgressRecord
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.jobs import JobKind, JobStatus, Subject
from magnetodb_backup.errors import AccessDenied, UnknownTask
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.in_process import Held
from tests.unit.worker.fake_cql import CLUSTER


@pytest.fixture
def backup(cluster: Cluster) -> Backup:
    """A backup with several packs of each node."""
    for node in cluster.nodes.values():
        for number in range(3, 6):
            node.write(node.tables[0], f"nb-{number}-big-Data.db", os.urandom(1000))
    return cluster.backup()


class Reads:
    """Counts the packs that are read, by container."""

    def __init__(self, cluster: Cluster) -> None:
        self.of: Counter[str] = Counter()
        self._cluster = cluster
        cluster.store.before_read = self._count

    def _count(self, name: str) -> None:
        if name.startswith("packs/"):
            self.of[name.rpartition("/")[2]] += 1

    def everything(self) -> Counter[str]:
        return Counter(p for n in self._cluster.nodes for p in self._cluster.packs(n).packs())


def addresses(cluster: Cluster, *numbers: int) -> set[str]:
    return {cluster.nodes[n].me.address for n in numbers}


def read_by(cluster: Cluster, report: Mapping[str, Any]) -> dict[int, str]:
    """Return the address of the node that read each node backup, by the number of its node."""
    return {n: report["read_by"][node.me.host_id] for n, node in cluster.nodes.items()}


def ask(cluster: Cluster, backup: Backup, **more: Any) -> str:
    parameters = {"read_data": True, "rungs": ["read-data"], **more}
    subject = Subject.backup(backup.id)
    return cluster.database.jobs.create(JobKind.VERIFICATION, subject, CLUSTER, parameters).id


def test_each_node_reads_its_own_packs(cluster: Cluster, backup: Backup) -> None:
    reads = Reads(cluster)
    report = cluster.verify(backup)
    assert report["problems"] == []
    assert read_by(cluster, report) == {n: node.me.address for n, node in cluster.nodes.items()}
    assert cluster.workers.starts("read") == {f"worker-{n}": 1 for n in cluster.nodes}
    assert reads.of == reads.everything()  # nothing is left out, nothing is read twice
    assert report["packs"] == report["packs_read"] == len(reads.everything())
    assert report["read_data"] is True


def test_the_report_is_that_of_the_conductor_alone(cluster: Cluster, backup: Backup) -> None:
    packs = {n: sorted(cluster.packs(n).packs()) for n in cluster.nodes}
    cluster.lose_pack(1, packs[1][0])
    cluster.damage_pack(2, packs[2][1], lambda body: bytes(len(body)))
    cluster.damage_pack(3, packs[3][-1], lambda body: body[:5])
    alone = verify_backup(
        cluster.repository,
        lambda host_id: next(
            cluster.packs(n) for n, node in cluster.nodes.items() if node.me.host_id == host_id
        ),
        backup.id,
        manifest_sha256=backup.manifest_sha256,
        read_data=True,
        progress=lambda *_: None,
        raise_if_cancelled=lambda: None,
    )
    report = cluster.verify(backup)
    assert {p.kind for p in alone.problems} == {"missing", "corrupt", "size"}
    for name in ("files", "bytes", "packs", "bytes_read", "problem_count", "read_data"):
        assert report[name] == getattr(alone, name), name
    assert [p["pack"] for p in report["problems"]] == [p.pack for p in alone.problems]
    assert [{**p, "files": tuple(p["files"])} for p in report["problems"]] == [
        asdict(p) for p in alone.problems
    ]


def test_all_nodes_read_side_by_side(cluster: Cluster, backup: Backup) -> None:
    """Each one waits until all have begun."""
    together, begun = threading.Event(), []

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.VERIFY_READ:
            begun.append(worker_id)
            if len(set(begun)) == len(cluster.nodes):
                together.set()

    for number in cluster.nodes:
        held = Held(cluster.work(number), TaskKind.VERIFY_READ, together)
        cluster.workers.restart(f"worker-{number}", held)
    cluster.workers.before_start = before_start
    assert cluster.verify(backup)["problems"] == []


# Trouble


def test_another_node_reads_for_one_that_is_gone(cluster: Cluster, backup: Backup) -> None:
    cluster.fall_silent(2)
    reads = Reads(cluster)
    report = cluster.verify(backup)
    assert report["problems"] == []
    assert read_by(cluster, report)[2] in addresses(cluster, 1, 3)
    assert reads.of == reads.everything()


def test_another_node_reads_for_one_that_gets_lost(cluster: Cluster, backup: Backup) -> None:
    cluster.lose(2, TaskKind.VERIFY_READ)
    report = cluster.verify(backup, outage_deadline=0.2, worker_timeout=1000.0)
    assert report["problems"] == []
    assert read_by(cluster, report)[2] in addresses(cluster, 1, 3)


def _older(cluster: Cluster, *numbers: int) -> None:
    """Let workers be of a release that does not know the task."""
    older = {f"worker-{n}" for n in numbers}

    def before_start(worker_id: str, kind: TaskKind) -> None:
        if kind is TaskKind.VERIFY_READ and worker_id in older:
            raise UnknownTask(f"worker {worker_id} does not know the task {kind.value}")

    cluster.workers.before_start = before_start


def test_another_node_reads_for_one_of_an_older_release(cluster: Cluster, backup: Backup) -> None:
    _older(cluster, 1)
    report = cluster.verify(backup)
    assert report["problems"] == []
    assert read_by(cluster, report)[1] in addresses(cluster, 2, 3)


def test_the_conductor_reads_where_all_workers_are_older(cluster: Cluster, backup: Backup) -> None:
    _older(cluster, 1, 2, 3)
    reads = Reads(cluster)
    report = cluster.verify(backup)
    assert report["problems"] == []
    assert set(read_by(cluster, report).values()) == {""}
    assert reads.of == reads.everything()


def test_the_conductor_reads_where_there_is_no_worker(cluster: Cluster, backup: Backup) -> None:
    """A fresh deployment has the store and nothing else."""
    cluster.fall_silent(1, 2, 3)
    pack = sorted(cluster.packs(2).packs())[0]
    cluster.lose_pack(2, pack)
    report = cluster.verify(backup)
    assert [(p["kind"], p["pack"]) for p in report["problems"]] == [("missing", pack)]
    assert set(read_by(cluster, report).values()) == {""}


def test_the_conductor_reads_what_a_worker_cannot(cluster: Cluster, backup: Backup) -> None:
    """The account of one node's worker is not that of the others."""

    class Denied:
        def perform(self, kind: TaskKind, arguments: Any, context: Any) -> Any:
            raise AccessDenied("no access to the container")

    cluster.workers.restart("worker-3", Denied())
    report = cluster.verify(backup)
    assert report["problems"] == []
    assert read_by(cluster, report)[3] == ""


def test_a_node_that_left_the_ring_is_read_by_another(cluster: Cluster, backup: Backup) -> None:
    cluster.report(2, member=None)
    report = cluster.verify(backup)
    assert read_by(cluster, report)[2] in addresses(cluster, 1, 3)


def test_cancelling_ends_all_of_it(cluster: Cluster, backup: Backup) -> None:
    job_id, never = ask(cluster, backup), threading.Event()
    for number in cluster.nodes:
        held = Held(cluster.work(number), TaskKind.VERIFY_READ, never)
        cluster.workers.restart(f"worker-{number}", held)

    def cancel(worker_id: str, kind: TaskKind) -> None:
        cluster.database.jobs.request_cancel(job_id)

    cluster.workers.after_start = cancel
    cluster.run(backup, JobKind.VERIFICATION)
    assert cluster.database.jobs.get(job_id).status is JobStatus.CANCELLED
    assert len(cluster.workers.cancelled) == len(cluster.nodes)
    assert cluster.database.proofs.of(backup.id) == ()


# What dies


def test_another_conductor_asks_only_for_what_is_left(cluster: Cluster, backup: Backup) -> None:
    job_id, reads = ask(cluster, backup), Reads(cluster)

    def none_is_read() -> bool:
        return not any(
            name.startswith("read:") for name in cluster.database.jobs.step_results(job_id, 1)
        )

    cluster.run(backup, JobKind.VERIFICATION, still_owner=none_is_read)
    stored = set(cluster.database.jobs.step_results(job_id, 1))
    assert stored
    assert "store" not in stored
    for number in cluster.nodes:  # the workers remember nothing, and keep no journal
        cluster.workers.restart(f"worker-{number}", cluster.work(number))
    before = cluster.workers.starts("read")
    cluster.run(backup, JobKind.VERIFICATION, owner="conductor-2")
    job = cluster.database.jobs.get(job_id)
    assert (job.status, (job.result or {})["problems"]) == (JobStatus.DONE, [])
    more = sum((cluster.workers.starts("read") - before).values())
    assert more == len(cluster.nodes) - len(stored)
    assert set(reads.of) == set(reads.everything())


@pytest.mark.parametrize("at", [1, 3])
def test_a_worker_that_dies_continues(cluster: Cluster, backup: Backup, at: int) -> None:
    """It is started again as a new process, and reads each pack once in all."""
    work = cluster.work(2, journal_every=0.0)
    cluster.workers.restart("worker-2", work)
    own, read = set(cluster.packs(2).packs()), Counter[str]()

    def before_read(name: str) -> None:
        pack = name.rpartition("/")[2]
        if pack not in own:
            return
        if sum(read.values()) == at and at not in died:
            died.append(at)
            cluster.workers.restart("worker-2", cluster.work(2, journal_every=0.0))
            raise RuntimeError("the worker dies")
        read[pack] += 1

    died: list[int] = []
    cluster.store.before_read = before_read
    report = cluster.verify(backup)
    assert died == [at]
    assert report["problems"] == []
    assert read == Counter(own)
    assert read_by(cluster, report)[2] == cluster.nodes[2].me.address


def test_progress_is_shown_by_node(cluster: Cluster, backup: Backup) -> None:
    job_id = ask(cluster, backup)
    record = ProgressRecord(cluster.database, job_id)
    first, second, third = cluster.repository.read_backup(backup.id).nodes
    record.enter("store")
    record.expect([first, second, third])
    record.node(first.host_id, {"bytes_done": 5, "bytes_total": 9})
    record._written = 0.0  # a second later
    record.node(second.host_id, {"bytes_done": 7, "bytes_total": 7}, done=True)
    shown = cluster.database.jobs.get(job_id).progress or {}
    assert (shown["nodes_total"], shown["nodes_done"]) == (3, 1)
    assert (shown["bytes_done"], shown["bytes_total"]) == (12, 16)
    by_host = {node["host_id"]: node for node in shown["nodes"]}
    assert by_host[first.host_id]["bytes_done"] == 5
    assert by_host[second.host_id]["done"] is True
    assert by_host[third.host_id]["address"] == third.address
