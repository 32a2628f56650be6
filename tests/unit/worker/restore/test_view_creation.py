# SPDX-License-Identifier: Apache-2.0
"""Views are created so that no row of them is sent to a node that does not have the view yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.kinds import TaskKind
from tests.unit.worker import fake_changes
from tests.unit.worker.restoring_node import RestoringNode, T

_VIEW = TableName("ks", "by_name")
_TEXT = fake_changes.view_text(_VIEW, T)
_MARKER = "ks.magnetodb_backup_creates_views"


@pytest.fixture
def restoring(tmp_path: Path) -> RestoringNode:
    return RestoringNode(tmp_path)


def _log(restoring: RestoringNode) -> list[str]:
    kinds = {"cql CREATE TYPE": "change", "cql DROP TYPE": "undo", "cql CREATE MAT": "view"}
    found = []
    for entry in restoring.node.log:
        found += ["agree"] * (entry == "agree")
        found += [kind for beginning, kind in kinds.items() if entry.startswith(beginning)]
    return found


def _make(restoring: RestoringNode, *statements: str) -> None:
    restoring.do(TaskKind.RESTORE_SCHEMA, statements=list(statements), tables=[])


def test_nodes_disagree_when_a_view_is_created(restoring: RestoringNode) -> None:
    """Only then do Cassandra's builders wait until all nodes have the view."""
    _make(restoring, _TEXT)
    assert _log(restoring) == ["undo", "change", "view", "agree", "undo", "agree"]
    assert _MARKER not in restoring.node.schema
    assert str(_VIEW) in restoring.node.schema


def test_what_a_killed_attempt_left_is_undone(restoring: RestoringNode) -> None:
    """Also where the view exists already, and nothing else is to be done."""
    nodes = restoring.node.ring
    fake_changes.execute(nodes, f"CREATE TYPE {_MARKER} (nothing int);")
    fake_changes.execute(nodes, _TEXT)
    _make(restoring, _TEXT)
    assert _log(restoring) == ["undo", "agree"]
    assert _MARKER not in restoring.node.schema


def test_a_refused_view_leaves_nothing_else(restoring: RestoringNode) -> None:
    def refuse(statement: str) -> None:
        if statement == _TEXT:
            raise CommandFailed("Materialized views are disabled")

    restoring.node.on_execute = refuse
    with pytest.raises(CommandFailed, match="are disabled"):
        _make(restoring, _TEXT)
    assert _MARKER not in restoring.node.schema


def test_other_statements_are_executed_alone(restoring: RestoringNode) -> None:
    _make(restoring, "CREATE INDEX by_id ON ks.t (id);")
    assert _log(restoring) == ["agree", "agree"]
