# SPDX-License-Identifier: Apache-2.0
"""A verification climbs the rungs that it is asked for; the results stay with the backup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from magnetodb_backup.domain.backup.proofs import Outcome, Rung
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobKind, JobStatus
from magnetodb_backup.errors import ScratchFailed
from magnetodb_backup.repository.format import names
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.conductors import Start
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.working import PREFIX

BOTH = ("parse", "schema")
TABLES = ("ks.t", "ks.u")
WHOLE = [rung for rung in Rung if rung is not Rung.SAMPLE]


def proved(cluster: Cluster, backup: Backup, rung: Rung) -> dict[str, str]:
    """Return the detail of each failed table, and nothing for each proved one."""
    found = {}
    for proof in cluster.database.proofs.of(backup.id):
        if proof.rung is rung:
            assert (proof.outcome is Outcome.FAILED) is bool(proof.detail)
            found[proof.label()] = proof.detail
    return found


def kinds(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(p["kind"], p["host_id"]) for p in report["problems"]]


def test_a_good_backup_climbs_all_rungs(cluster: Cluster) -> None:
    backup = cluster.backup()
    report = cluster.verify(backup, *BOTH)
    assert (report["problems"], report["problem_count"]) == ([], 0)
    assert report["rungs"] == ["read-data", "parse", "schema"]
    assert (report["sstables"], report["statements"]) == (3 * 4, 3)
    for rung in WHOLE:
        assert proved(cluster, backup, rung) == dict.fromkeys(TABLES, "")
    proofs = cluster.database.proofs.of(backup.id)
    assert {p.job_id for p in proofs} == {cluster.job(backup, JobKind.VERIFICATION).id}
    assert cluster.database.backups.get(backup.id) == backup


def test_only_what_is_asked_for_is_proved(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.verify(backup, read_data=False)
    assert {p.rung for p in cluster.database.proofs.of(backup.id)} == {Rung.EXISTS}
    assert not any(scratch.homes for scratch in cluster.scratch.values())
    cluster.verify(backup, "schema", read_data=False)
    rungs = {p.rung for p in cluster.database.proofs.of(backup.id)}
    assert rungs == {Rung.EXISTS, Rung.SCHEMA}


def test_each_node_parses_its_own_sstables(cluster: Cluster) -> None:
    backup = cluster.backup()
    report = cluster.verify(backup, "parse")
    assert {n: len(s.verified) for n, s in cluster.scratch.items()} == {1: 4, 2: 4, 3: 4}
    assert {host: n["by"] for host, n in report["nodes"].items()} == {
        node.me.host_id: node.me.address for node in cluster.nodes.values()
    }


def test_refused_sstable_is_named(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.scratch[2].malformed[b"2 ks.u"] = "EOFException"
    report = cluster.verify(backup, "parse")
    (problem,) = report["problems"]
    assert (problem["kind"], problem["host_id"]) == ("sstable", cluster.nodes[2].me.host_id)
    assert problem["detail"] == "ks.u nb-1-big-Data.db: EOFException"
    assert problem["files"] == ["ks/u/nb-1-big-Data.db"]
    assert proved(cluster, backup, Rung.READ_DATA) == dict.fromkeys(TABLES, "")
    address = cluster.nodes[2].me.address
    failed = f"node {address}: sstable nb-1-big: EOFException"
    assert proved(cluster, backup, Rung.PARSE) == {"ks.t": "", "ks.u": failed}
    assert cluster.database.damaged_packs.of(CLUSTER) == {}  # its packs are whole


def test_refused_statement_is_named(cluster: Cluster) -> None:
    backup = cluster.backup()
    for scratch in cluster.scratch.values():
        scratch.refused["TABLE ks.t"] = "no such class"
    report = cluster.verify(backup, "schema")
    (problem,) = report["problems"]
    assert problem["kind"] == "statement"
    assert problem["detail"] == "table ks.t: no such class"
    assert proved(cluster, backup, Rung.SCHEMA) == {"ks.t": "table t: no such class", "ks.u": ""}
    assert sum(len(s.lenient) for s in cluster.scratch.values()) == 1  # one node does it
    assert [s.lenient for s in cluster.scratch.values() if s.lenient] == [[False]]


def test_lost_pack_concerns_the_tables_that_need_it(cluster: Cluster) -> None:
    backup = cluster.backup()
    (pack,) = cluster.packs(1).packs()
    cluster.lose_pack(1, pack)
    report = cluster.verify(backup, "parse", read_data=False)
    assert report["problems"][0]["kind"] == "missing"
    address = cluster.nodes[1].me.address
    for rung in (Rung.EXISTS, Rung.PARSE):
        for detail in proved(cluster, backup, rung).values():
            assert detail.startswith(f"node {address}: ")
    assert {p["kind"] for p in report["problems"]} == {"missing", "sstable"}
    assert "cannot be fetched" in proved(cluster, backup, Rung.PARSE)["ks.t"]


def test_lost_schema_concerns_all_tables(cluster: Cluster) -> None:
    backup = cluster.backup()
    container, name = names.cluster_container(PREFIX, CLUSTER), names.schema_name(backup.id)
    cluster.store.change(container, name, lambda body: body + b"\n")
    cluster.verify(backup)
    for rung in (Rung.EXISTS, Rung.READ_DATA):
        found = proved(cluster, backup, rung)
        assert set(found) == set(TABLES)
        assert all("does not match the backup manifest" in text for text in found.values())


def test_a_later_verification_replaces_the_result(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.scratch[1].malformed[b"1 ks.t"] = "why"
    cluster.verify(backup, "parse")
    first = {p.label(): p for p in cluster.database.proofs.of(backup.id) if p.rung is Rung.PARSE}
    cluster.scratch[1].malformed.clear()
    cluster.verify(backup, "parse")
    assert proved(cluster, backup, Rung.PARSE) == dict.fromkeys(TABLES, "")
    for proof in cluster.database.proofs.of(backup.id):
        if proof.rung is Rung.PARSE:
            assert proof.proved_at > first[proof.label()].proved_at


def test_proofs_go_with_the_backup(cluster: Cluster) -> None:
    backup, other = cluster.backup(), cluster.backup()
    for each in (backup, other):
        cluster.verify(each)
    cluster.database.backups.request_deletion(backup.id)
    deleted = cluster.run(backup, JobKind.DELETION)
    assert deleted.status is BackupStatus.DELETED
    assert cluster.database.proofs.of(backup.id) == ()
    assert cluster.database.proofs.of(other.id) != ()


# Trouble


def test_another_node_reads_for_one_that_is_gone(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.fall_silent(2)
    report = cluster.verify(backup, "parse")
    assert report["problems"] == []
    assert proved(cluster, backup, Rung.PARSE) == dict.fromkeys(TABLES, "")
    assert report["nodes"][cluster.nodes[2].me.host_id]["by"] in {
        cluster.nodes[n].me.address for n in (1, 3)
    }
    assert sum(len(s.verified) for s in cluster.scratch.values()) == 12


def test_another_node_reads_for_one_that_gets_lost(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.lose(2, TaskKind.VERIFY_PARSE)
    report = cluster.verify(backup, "parse", outage_deadline=0.2, worker_timeout=1000.0)
    assert report["problems"] == []
    assert report["nodes"][cluster.nodes[2].me.host_id]["by"] != cluster.nodes[2].me.address


def test_node_that_cannot_read_proves_nothing(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.scratch[3].trouble = ScratchFailed("no Java")
    cluster.scratch[1].malformed[b"1 ks.t"] = "why"
    report = cluster.verify(backup, "parse")
    assert kinds(report) == [
        ("unread", cluster.nodes[3].me.host_id),
        ("sstable", cluster.nodes[1].me.host_id),
    ]
    assert "no Java" in report["problems"][0]["detail"]
    assert report["problem_count"] == 2
    # A table that failed on one node has failed; the other one may have SSTables on node 3.
    address = cluster.nodes[1].me.address
    assert proved(cluster, backup, Rung.PARSE) == {"ks.t": f"node {address}: sstable nb-1-big: why"}


def test_no_node_can_read(cluster: Cluster) -> None:
    backup = cluster.backup()
    for scratch in cluster.scratch.values():
        scratch.trouble = ScratchFailed("set [scratch] include")
    assert cluster.verify(backup, "parse") == {}
    job = cluster.job(backup, JobKind.VERIFICATION)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "ScratchFailed")
    assert "set [scratch] include" in job.error
    assert proved(cluster, backup, Rung.READ_DATA) == dict.fromkeys(TABLES, "")
    assert proved(cluster, backup, Rung.PARSE) == {}


def test_no_worker_at_all(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.fall_silent(1, 2, 3)
    cluster.verify(backup, "parse")
    job = cluster.job(backup, JobKind.VERIFICATION)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "MissingWorker")


@pytest.mark.parametrize("step", ["store", "schema"])
def test_another_conductor_continues(cluster: Cluster, step: str) -> None:
    backup = cluster.backup()
    reads: list[int] = []

    def dies() -> bool:
        job = cluster.job(backup, JobKind.VERIFICATION)
        reads.append(1)
        return step not in cluster.database.jobs.step_results(job.id, 1)

    parameters = {"read_data": True, "rungs": list(BOTH)}
    from magnetodb_backup.domain.jobs import Subject

    cluster.database.jobs.create(
        JobKind.VERIFICATION, Subject.backup(backup.id), CLUSTER, parameters
    )
    cluster.run(backup, JobKind.VERIFICATION, still_owner=dies)
    assert cluster.job(backup, JobKind.VERIFICATION).status is JobStatus.RUNNING
    cluster.run(backup, JobKind.VERIFICATION, owner="conductor-2")
    job = cluster.job(backup, JobKind.VERIFICATION)
    assert (job.status, (job.result or {})["problems"]) == (JobStatus.DONE, [])
    assert sum(len(s.lenient) for s in cluster.scratch.values()) == 1 + 3  # schema, parse
    for rung in WHOLE:
        assert proved(cluster, backup, rung) == dict.fromkeys(TABLES, "")


def test_progress_is_shown(cluster: Cluster) -> None:
    backup = cluster.backup()
    cluster.verify(backup, "parse")
    progress = cluster.job(backup, JobKind.VERIFICATION).progress
    assert progress is not None
    assert (progress["step"], progress["nodes_total"]) == ("parse", 0)


def test_conductor_of_a_real_loop(cluster: Cluster, start: Start) -> None:
    """The kind is registered, and a request of an older release has no rungs."""
    backup = cluster.backup()
    report = cluster.verify(backup)
    assert report["rungs"] == ["read-data"]
    assert report["read_data"] is True
