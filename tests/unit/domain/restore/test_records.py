# SPDX-License-Identifier: Apache-2.0
"""A restore's request and transitions."""

from __future__ import annotations

import json
from itertools import product

import pytest

from magnetodb_backup.domain.restore.records import (
    TRANSITIONS,
    Existing,
    RestoreRequest,
    RestoreStatus,
    check_restore_transition,
)
from magnetodb_backup.errors import Conflict
from tests.unit.domain.samples import BACKUP_ID

_S = RestoreStatus


@pytest.mark.parametrize(("old", "new"), list(product(_S, _S)), ids=lambda s: s.value)
def test_only_a_running_restore_changes(old: RestoreStatus, new: RestoreStatus) -> None:
    if old in (new, _S.RESTORING):
        check_restore_transition("the-id", old, new)
    else:
        with pytest.raises(Conflict, match=f"the-id is {old.value} and cannot.*{new.value}"):
            check_restore_transition("the-id", old, new)


def test_every_status_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(_S)
    assert set(TRANSITIONS[_S.RESTORING].values()) == set(_S) - {_S.RESTORING}


@pytest.mark.parametrize(
    "request_",
    [
        RestoreRequest(BACKUP_ID),
        RestoreRequest(
            BACKUP_ID,
            cluster="c",
            keyspaces=("k",),
            tables=("k.t", 'k."T"'),
            to_keyspace="k2",
            to_table="t2",
            existing=Existing.MERGE,
            node="10.0.0.1",
            source_replicas="one",
            allow_partial=True,
            dry_run=True,
            offline=True,
            system_auth=True,
            allow_resurrection=True,
        ),
    ],
)
def test_requests_come_back_from_json(request_: RestoreRequest) -> None:
    assert RestoreRequest.from_json(json.loads(json.dumps(request_.as_json()))) == request_


def test_absent_members_have_their_default() -> None:
    assert RestoreRequest.from_json({"backup_id": BACKUP_ID}) == RestoreRequest(BACKUP_ID)


def test_requests_of_today_can_be_read_by_an_older_release() -> None:
    """It knows no ``allow_resurrection``, and takes no unknown member."""
    assert "allow_resurrection" not in RestoreRequest(BACKUP_ID).as_json()
