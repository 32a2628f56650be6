# SPDX-License-Identifier: Apache-2.0
"""Snapshot tags and the records of tasks."""

from __future__ import annotations

import json

import pytest

from magnetodb_backup.errors import NoSpace
from magnetodb_backup.tasks.kinds import (
    TAG_PREFIX,
    TaskState,
    TaskStatus,
    backup_of_tag,
    snapshot_tag,
)
from tests.unit.domain.samples import BACKUP_ID


@pytest.mark.parametrize("round_", [1, 3, 10])
def test_a_tag_leads_back_to_its_backup(round_: int) -> None:
    tag = snapshot_tag(BACKUP_ID, round_)
    assert tag.startswith(TAG_PREFIX)
    assert backup_of_tag(tag) == BACKUP_ID


def test_each_round_has_a_tag_of_its_own() -> None:
    assert len({snapshot_tag(BACKUP_ID, n) for n in range(1, 11)}) == 10


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "mine",
        "mdbb-",
        "mdbb-important",
        "dropped-1700000000000-t",
        f"mdbb-{'0' * 31}-1",
        f"mdbb-{'0' * 32}",
        f"mdbb-{'0' * 32}-",
        f"mdbb-{'0' * 32}-1x",
        f"mdbb-{'0' * 32}-100",
        f"mdbb-{'G' * 32}-1",
        f"x-mdbb-{'0' * 32}-1",
        f"mdbb-{'0' * 32}-1\n",
    ],
)
def test_foreign_tags_belong_to_no_backup(tag: str) -> None:
    assert backup_of_tag(tag) is None


@pytest.mark.parametrize(
    "status",
    [
        TaskStatus(TaskState.UNKNOWN),
        TaskStatus(TaskState.RUNNING, progress={"files_done": 3}),
        TaskStatus(TaskState.DONE, {"files_done": 4}, {"host_id": "x", "tokens": ["1"]}),
        TaskStatus(TaskState.FAILED, error=NoSpace("disk full").as_record()),
    ],
    ids=lambda status: status.state.value,
)
def test_task_statuses_survive_the_bus(status: TaskStatus) -> None:
    assert TaskStatus.from_json(json.loads(json.dumps(status.as_json()))) == status
