# SPDX-License-Identifier: Apache-2.0
"""What guardrails refuse. The values are as ``system_views.settings`` of 5.0.9 shows them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from magnetodb_backup.domain.restore.target_guardrails import (
    GUARDRAILS,
    PlannedStatements,
    guardrail_problems,
)
from magnetodb_backup.domain.restore.target_settings import TargetNode
from magnetodb_backup.domain.schema.cql_text import split_statements

DC = "{'class': 'NetworkTopologyStrategy', 'dc1': '3', 'dc2': '1'}"
SIMPLE = "{'class': 'SimpleStrategy', 'replication_factor': '3'}"
KEYSPACE = f"CREATE KEYSPACE s WITH replication = {DC};"
PLAIN = "CREATE TABLE k.p (a int PRIMARY KEY) WITH compression = {'enabled': 'false'};"
WIDE = "CREATE TABLE k.w (a int PRIMARY KEY, b int, c vector<float, 3>) WITH cdc = false;"
INDEX = "CREATE CUSTOM INDEX i ON k.w (b) USING 'StorageAttachedIndex';"
INDEX_2 = INDEX.replace(" i ", " j ")
VIEW = "CREATE MATERIALIZED VIEW k.v AS SELECT * FROM k.w WHERE b IS NOT NULL PRIMARY KEY (b, a);"
VIEW_2 = VIEW.replace("k.v", "k.v2")
TYPE = "CREATE TYPE k.u (a int, b int);"
ALTER = "ALTER TABLE k.w DROP b USING TIMESTAMP 1;"
# As a node reports them that has none of its own.
_USUAL = {name: "-1" if name.endswith("threshold") else "true" for name in GUARDRAILS} | {
    "table_properties_disallowed": "[]"
}


def _planned(*texts: str, truncates: bool = False) -> PlannedStatements:
    statements = [s for text in texts for s in split_statements(text)]
    return PlannedStatements(statements, truncates, keyspaces=2, tables=5)


def _nodes(settings: Mapping[str, str], *, superuser: bool = False) -> list[TargetNode]:
    """Return two nodes, of which the second one has the guardrail."""
    return [
        TargetNode("10.0.0.1", "5.0.9", _USUAL, superuser),
        TargetNode("10.0.0.2", "5.0.9", _USUAL | dict(settings), superuser),
    ]


_NO_INDEX, _NO_TABLE = "index k.i cannot be created", "table k.w cannot be created"
_NO_KEYSPACE = "keyspace s cannot be created"
_REFUSED = [
    ("secondary_indexes_enabled", "false", INDEX, _NO_INDEX, "--skip index=k.i"),
    ("simplestrategy_enabled", "false", KEYSPACE.replace(DC, SIMPLE), _NO_KEYSPACE, ""),
    ("uncompressed_tables_enabled", "false", PLAIN, "table k.p cannot be created", ""),
    ("alter_table_enabled", "false", ALTER, "table k.w cannot be altered", ""),
    ("table_properties_disallowed", "[read_repair, cdc]", WIDE, _NO_TABLE, "has cdc on"),
    ("columns_per_table_fail_threshold", "2", WIDE, _NO_TABLE, " is 2 on"),
    ("vector_dimensions_fail_threshold", "2", WIDE, _NO_TABLE, " is 2 on"),
    ("fields_per_udt_fail_threshold", "1", TYPE, "type k.u cannot be created", " is 1 on"),
    ("keyspaces_fail_threshold", "2", KEYSPACE, "1 keyspaces cannot be created beside the 2", ""),
    ("tables_fail_threshold", "6", WIDE + PLAIN, "2 tables cannot be created beside the 5", ""),
    ("maximum_replication_factor_fail_threshold", "2", KEYSPACE, _NO_KEYSPACE, " is 2 on"),
    ("minimum_replication_factor_fail_threshold", "2", KEYSPACE, _NO_KEYSPACE, " is 2 on"),
    ("secondary_indexes_per_table_fail_threshold", "1", INDEX + INDEX_2,
     "index 2 of table k.w cannot be created", "--skip index=NAME"),
    ("materialized_views_per_table_fail_threshold", "1", VIEW + VIEW_2,
     "view 2 of table k.w cannot be created", "--skip view=NAME"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "texts", "cannot", "detail"), _REFUSED)
def test_what_one_node_refuses(name: str, value: str, texts: str, cannot: str, detail: str) -> None:
    (problem,) = guardrail_problems(_nodes({name: value}), _planned(texts))
    assert problem.startswith(cannot)
    assert f"{name} " in problem
    assert " on 10.0.0.2; " in problem
    assert detail in problem
    assert guardrail_problems(_nodes({}), _planned(texts)) == []


@pytest.mark.parametrize(("name", "value", "texts"), [each[:3] for each in _REFUSED])
def test_superusers_may_do_everything(name: str, value: str, texts: str) -> None:
    assert guardrail_problems(_nodes({name: value}, superuser=True), _planned(texts)) == []


@pytest.mark.parametrize(
    ("name", "value", "texts"),
    [
        ("simplestrategy_enabled", "false", KEYSPACE),
        ("uncompressed_tables_enabled", "false", WIDE),
        ("table_properties_disallowed", "[cdc]", PLAIN),
        ("columns_per_table_fail_threshold", "3", WIDE),
        ("vector_dimensions_fail_threshold", "3", WIDE),
        ("tables_fail_threshold", "5", VIEW),
        ("tables_fail_threshold", "6", WIDE),
        ("keyspaces_fail_threshold", "1", WIDE),
        ("minimum_replication_factor_fail_threshold", "1", KEYSPACE),
    ],
)
def test_what_is_within_the_limits(name: str, value: str, texts: str) -> None:
    assert guardrail_problems(_nodes({name: value}), _planned(texts)) == []


def test_truncating() -> None:
    nodes = _nodes({"drop_truncate_table_enabled": "false"})
    assert guardrail_problems(nodes, _planned(WIDE)) == []
    (problem,) = guardrail_problems(nodes, _planned(truncates=True))
    assert problem == (
        "tables cannot be truncated: drop_truncate_table_enabled is false on 10.0.0.2; change that "
        "for the restore"
    )


def test_a_node_that_reports_nothing() -> None:
    nodes = [TargetNode("10.0.0.1", "4.0.19", {})]
    assert guardrail_problems(nodes, _planned(WIDE, INDEX, truncates=True)) == []
