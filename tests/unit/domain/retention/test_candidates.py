# SPDX-License-Identifier: Apache-2.0
"""States of backups, and the groups of their scopes."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.retention.candidates import State, group_of, group_text, state_of

S = BackupStatus


def test_states() -> None:
    found = {status: state_of(status, damaged=False) for status in S}
    assert found == {
        S.CREATING: None,
        S.CREATED: State.RESTORABLE,
        S.PARTIAL: State.PARTIAL,
        S.CREATE_FAILED: State.FAILED,
        S.CANCELLED: State.FAILED,
        S.DELETING: None,
        S.DELETED: None,
        S.DELETE_FAILED: State.DELETION_FAILED,
    }
    assert state_of(S.CREATED, damaged=True) is State.DAMAGED
    assert [s for s in S if state_of(s, damaged=True) is State.RESTORABLE] == []


@pytest.mark.parametrize(
    ("scope", "centers", "text"),
    [
        ({"type": "all"}, [], "all keyspaces"),
        ({"type": "all"}, ["b", "a"], "all keyspaces of a, b"),
        ({"type": "keyspaces", "keyspaces": ["b", "a", "b"]}, [], "keyspaces a, b"),
        ({"type": "tables", "tables": ["k.t"]}, [], "tables k.t"),
        ({"type": "tenant", "ids": [2, 1]}, [], 'tenant {"ids": [2, 1]}'),
        ({"type": "tenant"}, [], "tenant"),
    ],
)
def test_groups_in_words(scope: dict[str, Any], centers: list[str], text: str) -> None:
    assert group_text(group_of(scope, centers)) == text


def test_order_and_repetition_of_names_make_no_other_group() -> None:
    one = group_of({"type": "tables", "tables": ["k.a", "k.b"]}, ["d1", "d2"])
    assert one == group_of({"tables": ["k.b", "k.a", "k.b"], "type": "tables"}, ["d2", "d1"])
    assert one != group_of({"type": "tables", "tables": ["k.a", "k.b"]}, ["d1"])
    assert one != group_of({"type": "tables", "tables": ["k.a"]}, ["d1", "d2"])
    # What the order means to a plugin is not known.
    assert group_of({"type": "x", "tables": [1, 2]}) != group_of({"type": "x", "tables": [2, 1]})
