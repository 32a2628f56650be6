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


def test_records_have_no_members_with_their_default() -> None:
    """A process of an older release refuses members that it does not know."""
    assert RestoreRequest(BACKUP_ID).as_record() == {"backup_id": BACKUP_ID}
    request = RestoreRequest(BACKUP_ID, skip=("view=ks.v",), allow_resurrection=True)
    assert request.as_record() == {
        "backup_id": BACKUP_ID,
        "skip": ["view=ks.v"],
        "allow_resurrection": True,
    }
    assert RestoreRequest.from_json(request.as_record()) == request


def test_members_of_a_newer_release_are_ignored() -> None:
    record = {"backup_id": BACKUP_ID, "check": True, "of_a_newer_release": [1]}
    assert RestoreRequest.from_json(record) == RestoreRequest(BACKUP_ID, check=True)
