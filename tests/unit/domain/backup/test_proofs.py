# SPDX-License-Identifier: Apache-2.0
"""The ladder of proof: rungs, and what a verification means for each table."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from magnetodb_backup.domain.backup.proofs import (
    LONGEST_DETAIL,
    Outcome,
    Proof,
    Rung,
    grouped,
    proofs_of,
    rungs_of,
)
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import InvalidValue
from tests.unit.domain.samples import PROOF

NOW = datetime(2026, 11, 30, tzinfo=timezone.utc)
A, B, C = (TableName("shop", name) for name in "abc")


@pytest.mark.parametrize(
    ("names", "read_data", "rungs"),
    [
        ([], False, "exists"),
        ([], True, "read-data"),
        (["exists"], False, "exists"),
        (["exists", "read-data"], False, "read-data"),
        (["schema", "parse"], False, "exists parse schema"),
        (["parse", "parse"], True, "read-data parse"),
    ],
)
def test_the_store_is_always_asked(names: list[str], read_data: bool, rungs: str) -> None:
    assert " ".join(r.value for r in rungs_of(names, read_data=read_data)) == rungs


def test_unknown_rung() -> None:
    with pytest.raises(InvalidValue, match="'all' is not a rung; use one of exists, read-data,"):
        rungs_of(["all"])


def _outcomes(proofs: tuple[Proof, ...]) -> dict[tuple[str, str], tuple[str, str]]:
    return {(p.keyspace, p.table): (p.outcome.value, p.detail) for p in proofs}


def test_tables_are_proved_unless_they_failed() -> None:
    functions = TableName("shop", "")
    failed = {B: "why", functions: "no functions"}
    proofs = proofs_of(Rung.SCHEMA, [A, B], failed, at=NOW, job_id="j")
    assert _outcomes(proofs) == {
        A: ("proved", ""),
        B: ("failed", "why"),
        functions: ("failed", "no functions"),
    }
    assert {(p.rung, p.proved_at, p.job_id) for p in proofs} == {(Rung.SCHEMA, NOW, "j")}
    assert [p.label() for p in proofs] == ["shop.a", "shop.b", "keyspace shop"]


def test_what_was_not_looked_at_is_neither_proved_nor_disproved() -> None:
    proofs = proofs_of(Rung.PARSE, [A, B, C], {B: "why"}, at=NOW, job_id="j", without=[A, B])
    assert _outcomes(proofs) == {B: ("failed", "why"), C: ("proved", "")}


def test_reasons_are_bounded() -> None:
    (proof,) = proofs_of(Rung.PARSE, [A], {A: "x" * 1000}, at=NOW, job_id="j")
    assert len(proof.detail) == LONGEST_DETAIL


def test_groups_are_ordered_by_rung_failures_and_time() -> None:
    proved = replace(PROOF, outcome=Outcome.PROVED, detail="", proved_at=NOW)
    groups = grouped(
        [
            proved,
            replace(proved, table="Orders"),
            replace(proved, table="old", proved_at=NOW - timedelta(1)),
            PROOF,
            replace(proved, rung=Rung.EXISTS),
        ]
    )
    assert [(g.rung.value, g.outcome.value, g.tables) for g in groups] == [
        ("exists", "proved", ("shop.orders",)),
        ("parse", "failed", ("shop.orders",)),
        ("parse", "proved", ('shop."Orders"', "shop.orders")),
        ("parse", "proved", ("shop.old",)),
    ]
    assert groups[1].detail == PROOF.detail
