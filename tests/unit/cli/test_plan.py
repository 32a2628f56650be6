# SPDX-License-Identifier: Apache-2.0
"""A restore's plan as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.cli.plan import plan_text, summary_text
from magnetodb_backup.domain.fingerprints import TableCheck

PLAN: dict[str, Any] = {
    "method_by_keyspace": {"shop": "import", "log": "stream"},
    "tables": [
        {
            "source": "shop.orders",
            "target": "shop2.orders",
            "files": 8,
            "bytes": 1_500_000,
            "exists": False,
            "has_rows": False,
        },
        {"source": "log.t", "target": "log.t", "files": 0, "bytes": 0, "exists": True},
        {"source": "log.u", "target": "log.u", "exists": True, "has_rows": True},
    ],
    "nodes": [
        {
            "host_id": "h-1",
            "address": "10.0.0.1",
            "sources": ["s-1", "s-2"],
            "files": 8,
            "bytes": 1_500_000,
            "free": [
                {"path": "/data1", "free": 2_000_000, "needed": 1_500_000},
                {"path": "/data2", "free": 10, "needed": 11},
            ],
        }
    ],
    "requests": 12,
    "bytes": 1_500_000,
    "bytes_sent": 3_000_000,
    "amplification": 3.0,
    "expected_seconds": 12.5,
    "schema": {
        "create": ["CREATE TABLE shop2.orders"],
        "differences": ["log.t lacks\ncolumn v"],
        "notes": ["one note"],
    },
    "figures": {"shop2.orders": {"steady": 60, "changing": 3, "unread": 1}},
    "problems": ["log.u has data"],
    "warnings": ["old backup", "merge"],
}
TEXT = """
Ways
  shop: imported; each node takes the files of the node whose tokens it has
  log: streamed by Cassandra's bulk loader to the nodes that own the rows

Tables
  shop.orders -> shop2.orders: 8 files, 1.5 MB; is created
  log.t: 0 files, 0 bytes; exists and is empty
  log.u: 0 files, 0 bytes; exists and has data

Nodes
  10.0.0.1 (h-1): 8 files, 1.5 MB of s-1, s-2
    /data1: needs 1.5 MB, 2.0 MB are free
    /data2: needs 11 bytes, 10 bytes are free; not enough

Costs
  requests to the store: 12
  files to fetch: 1.5 MB
  sent between nodes: 3.0 MB
  bytes moved for each byte: 3
  expected time: 12.5 s

Schema
  CREATE TABLE shop2.orders
  differs: log.t lacks
  column v
  note: one note

Figures to check against
  shop2.orders: 60 of 64 token ranges

Warnings
  old backup
  merge

Problems, which refuse the restore
  log.u has data
"""


def test_a_whole_plan() -> None:
    assert plan_text(PLAN) == TEXT


@pytest.mark.parametrize("member", sorted(PLAN))
def test_any_member_may_be_absent(member: str) -> None:
    shown = plan_text({name: value for name, value in PLAN.items() if name != member})
    assert set(shown.splitlines()) < set(TEXT.splitlines())


def test_no_plan_is_no_text() -> None:
    assert plan_text({}) == ""
    nothing: dict[str, Any] = {
        "schema": {},
        "problems": [],
        "warnings": [],
        "expected_seconds": None,
    }
    assert plan_text(nothing) == ""


def test_summary() -> None:
    node = {
        "files_done": 4,
        "bytes_done": 1_500_000,
        "bytes_resumed": 500_000,
        "sstables_imported": 3,
        "bytes_sent": 0,
    }
    view: dict[str, Any] = {
        "tables": {"shop.orders": "restored", "shop.users": "truncated"},
        "nodes": [node, node],
        "plan": {"warnings": ["run nodetool repair"]},
        "checks": None,
    }
    assert summary_text(view) == (
        "\nSummary\n  1 of 2 tables restored on 2 nodes: 8 files, 3.0 MB (1.0 MB of them staged by "
        "an earlier attempt), 6 SSTables imported\n\nWarnings\n  run nodetool repair\n"
    )
    nothing: dict[str, Any] = {"tables": {}, "nodes": [], "plan": None, "checks": None}
    assert "0 of 0 tables" in summary_text(nothing)


def test_summary_of_a_check() -> None:
    check = TableCheck(equal=60, changing=4, rows_expected=300, rows_found=300).as_json()
    view: dict[str, Any] = {"tables": {}, "nodes": [], "plan": None, "checks": {"k.t": check}}
    assert (
        "Check of the rows against the backup's figures\n"
        "  k.t: 60 of 60 token ranges equal, 300 rows; 4 ranges changed while the backup was made: "
        "not compared\n"
    ) in summary_text(view)
