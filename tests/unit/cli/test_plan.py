# SPDX-License-Identifier: Apache-2.0
"""A restore's plan as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.cli.plan import plan_text

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
How each node gets its files
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

Fingerprints to check against
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


def test_what_an_earlier_restore_has_fetched() -> None:
    (node,) = PLAN["nodes"]
    plan = {**PLAN, "bytes_staged": 500_000, "nodes": [{**node, "bytes_staged": 500_000}]}
    text = plan_text(plan)
    assert set(text.splitlines()) - set(TEXT.splitlines()) == {
        "    500.0 kB of it are there already, fetched by an earlier restore",
        "  files to fetch: 1.0 MB",
        "  files that an earlier restore has fetched: 500.0 kB",
    }


def test_no_plan_is_no_text() -> None:
    assert plan_text({}) == ""
    nothing: dict[str, Any] = {
        "schema": {},
        "problems": [],
        "warnings": [],
        "expected_seconds": None,
    }
    assert plan_text(nothing) == ""
