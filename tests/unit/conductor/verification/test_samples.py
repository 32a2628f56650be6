# SPDX-License-Identifier: Apache-2.0
"""A sample is reported as a sample, and is never a proof of all data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.domain.jobs import JobKind, Subject
from tests.unit.conductor.cluster import Cluster
from tests.unit.worker.fake_cql import CLUSTER

HALF = Sample.of(50, 6)
LABEL = "sampled 50 % of the packs, seed 6"


@pytest.fixture
def backup(cluster: Cluster) -> Backup:
    for node in cluster.nodes.values():
        for number in range(3, 9):
            node.write(node.tables[0], f"nb-{number}-big-Data.db", os.urandom(1000))
    return cluster.backup()


def verify(cluster: Cluster, backup: Backup, sample: Sample | None) -> Mapping[str, Any]:
    parameters: dict[str, Any] = {"read_data": True, "rungs": ["read-data"]}
    if sample is not None:
        parameters["sample"] = {"percent": sample.percent, "seed": sample.seed, "series": "s"}
    subject = Subject.backup(backup.id)
    cluster.database.jobs.create(JobKind.VERIFICATION, subject, CLUSTER, parameters)
    cluster.run(backup, JobKind.VERIFICATION)
    return cluster.job(backup, JobKind.VERIFICATION).result or {}


def proofs(cluster: Cluster, backup: Backup, rung: Rung) -> dict[str, Proof]:
    return {p.label(): p for p in cluster.database.proofs.of(backup.id) if p.rung is rung}


def damage(cluster: Cluster, sample: Sample, number: int = 2) -> str:
    """Change a pack that is in the sample and belongs to table ks.t."""
    container = cluster.packs(number)
    pack = next(p for p in sorted(container.packs()) if sample.has(p))
    cluster.damage_pack(number, pack, lambda body: bytes(len(body)))
    return pack


def test_the_report_has_the_seed_and_is_not_of_all_data(cluster: Cluster, backup: Backup) -> None:
    report = verify(cluster, backup, HALF)
    assert report["sample"] == {"percent": 50.0, "seed": 6}
    assert report["read_data"] is False
    assert report["rungs"] == ["sample"]
    packs = [p for n in cluster.nodes for p in cluster.packs(n).packs()]
    assert (report["packs"], report["packs_read"]) == (len(packs), sum(map(HALF.has, packs)))
    again = verify(cluster, backup, HALF)
    assert again == report


def test_a_sample_is_no_proof_of_all_data(cluster: Cluster, backup: Backup) -> None:
    verify(cluster, backup, HALF)
    assert proofs(cluster, backup, Rung.READ_DATA) == {}
    found = proofs(cluster, backup, Rung.SAMPLE)
    assert {p.detail for p in found.values()} == {LABEL}
    assert {p.outcome for p in found.values()} == {Outcome.PROVED}
    # The other packs have been looked for.
    assert {p.outcome for p in proofs(cluster, backup, Rung.EXISTS).values()} == {Outcome.PROVED}


def test_a_sample_does_not_replace_a_whole_proof(cluster: Cluster, backup: Backup) -> None:
    verify(cluster, backup, None)
    whole = proofs(cluster, backup, Rung.READ_DATA)
    verify(cluster, backup, HALF)
    assert proofs(cluster, backup, Rung.READ_DATA) == whole
    assert len(proofs(cluster, backup, Rung.SAMPLE)) == 2
    verify(cluster, backup, None)
    assert proofs(cluster, backup, Rung.SAMPLE) == {}  # all data says more


def test_damage_in_a_sample_disproves_the_whole_proof(cluster: Cluster, backup: Backup) -> None:
    verify(cluster, backup, None)
    pack = damage(cluster, HALF)
    report = verify(cluster, backup, HALF)
    assert [p["pack"] for p in report["problems"]] == [pack]
    for rung in (Rung.SAMPLE, Rung.READ_DATA):
        failed = proofs(cluster, backup, rung)["ks.t"]
        assert failed.outcome is Outcome.FAILED
        assert pack in failed.detail
    assert proofs(cluster, backup, Rung.SAMPLE)["ks.t"].detail.startswith(LABEL)


def test_damage_found_by_a_sample_is_not_proved_by_the_next_one(
    cluster: Cluster, backup: Backup
) -> None:
    """The next sample reads other packs."""
    pack = damage(cluster, HALF)
    verify(cluster, backup, HALF)
    assert verify(cluster, backup, HALF.next())["problems"] == []
    assert proofs(cluster, backup, Rung.SAMPLE)["ks.t"].outcome is Outcome.FAILED
    host_id = cluster.nodes[2].me.host_id
    assert set(cluster.database.damaged_packs.of(CLUSTER)[host_id]) == {pack}
    cluster.backup()  # uploads the pack again
    verify(cluster, backup, HALF.next())
    assert proofs(cluster, backup, Rung.SAMPLE)["ks.t"].outcome is Outcome.PROVED


def test_successive_samples_find_all_damage(cluster: Cluster, backup: Backup) -> None:
    damaged = set()
    for number in cluster.nodes:
        for pack in cluster.packs(number).packs():
            cluster.damage_pack(number, pack, lambda body: bytes(len(body)))
            damaged.add(pack)
    sample, found = Sample.of(30, 100), set()
    for _ in range(sample.runs):
        found |= {p["pack"] for p in verify(cluster, backup, sample)["problems"]}
        sample = sample.next()
    assert found == damaged
    known = cluster.database.damaged_packs.of(CLUSTER).values()
    assert {pack for packs in known for pack in packs} == damaged
