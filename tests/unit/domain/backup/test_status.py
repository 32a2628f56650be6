# SPDX-License-Identifier: Apache-2.0
"""The transitions of a backup's status."""

from __future__ import annotations

from itertools import product

import pytest

from magnetodb_backup.domain.backup.status import TRANSITIONS, BackupStatus, check_transition
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.errors import Conflict

_S = BackupStatus
_DELETABLE = (_S.CREATED, _S.PARTIAL, _S.CREATE_FAILED, _S.CANCELLED, _S.DELETE_FAILED)
_ALLOWED = {
    *((_S.CREATING, end) for end in (_S.CREATED, _S.PARTIAL, _S.CREATE_FAILED, _S.CANCELLED)),
    *((status, _S.DELETING) for status in _DELETABLE),
    (_S.DELETING, _S.DELETED),
    (_S.DELETING, _S.DELETE_FAILED),
    (_S.DELETED, _S.CREATED),
    (_S.DELETED, _S.PARTIAL),
    *((status, status) for status in _S),
}


@pytest.mark.parametrize(("old", "new"), list(product(_S, _S)), ids=lambda s: s.value)
def test_every_transition_is_allowed_or_refused(old: BackupStatus, new: BackupStatus) -> None:
    if (old, new) in _ALLOWED:
        check_transition("the-id", old, new)
    else:
        with pytest.raises(Conflict, match=f"the-id is {old.value} and cannot.*{new.value}"):
            check_transition("the-id", old, new)


def test_a_refusal_names_what_is_possible() -> None:
    with pytest.raises(Conflict, match=r"possible: DELETED, DELETE_FAILED$"):
        check_transition("x", _S.DELETING, _S.CREATED)
    with pytest.raises(Conflict, match=r"possible: CREATED, PARTIAL$"):
        check_transition("x", _S.DELETED, _S.DELETING)


def test_each_transition_has_a_reason_of_its_own() -> None:
    for transitions in TRANSITIONS.values():
        assert all(transitions)
        assert len(set(transitions.values())) == len(transitions)
    assert set(TRANSITIONS) == set(BackupStatus)


def test_only_ends_of_jobs_are_finished() -> None:
    assert {s for s in JobStatus if not s.finished} == {JobStatus.PENDING, JobStatus.RUNNING}
