# SPDX-License-Identifier: Apache-2.0
"""Samples that are asked for one after another cover all packs of like backups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.database import Database, connect
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.sample import sample_of
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.jobs import JobStatus
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import job_of

ALL: dict[str, Any] = {"type": "all"}
SHOP: dict[str, Any] = {"type": "keyspaces", "keyspaces": ["shop"]}


class Asking:
    """Asks for verifications of backups, each with a backup of its own."""

    def __init__(self, database: Database) -> None:
        self.database, self.number = database, 0
        self.requests = RecordedRequests(
            database, load_scope, lambda: None, known_within=60, prefix="p", draw=lambda: 40
        )

    def backup(self, scope: dict[str, Any], cluster: str = "c") -> str:
        self.number += 1
        backup_id = f"00000000-0000-4000-8000-{self.number:012d}"
        backup = self.database.backups.create(BackupRequest(scope), backup_id, cluster)
        self.database.jobs.finish(job_of(self.database, backup.id).id, JobStatus.DONE)
        self.database.backups.set_status(backup.id, BackupStatus.CREATED)
        return backup.id

    def seed(self, percent: float = 10, scope: dict[str, Any] = ALL, **more: Any) -> int:
        """Ask for a sample of a new backup; return its seed."""
        backup_id = self.backup(scope, more.pop("cluster", "c"))
        job = self.requests.verify_backup(backup_id, read_data=True, sample=percent, **more)
        sample = sample_of(job.parameters)
        assert sample is not None
        assert sample.percent == percent
        return sample.seed


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    database = connect(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    database.sync()
    yield Asking(database)
    database.close()


def test_each_sample_follows_the_last_one(asking: Asking) -> None:
    assert [asking.seed() for _ in range(3)] == [40, 41, 42]


def test_backups_of_another_scope_cluster_or_share_have_samples_of_their_own(
    asking: Asking,
) -> None:
    """If two series shared their numbers, each could leave the same packs out for ever."""
    found = [
        (asking.seed(), asking.seed(scope=SHOP), asking.seed(20), asking.seed(cluster="d"))
        for _ in range(2)
    ]
    assert found == [(40, 40, 40, 40), (41, 41, 41, 41)]


def test_a_seed_is_taken_as_it_is_named(asking: Asking) -> None:
    assert [asking.seed(), asking.seed(seed=7), asking.seed()] == [40, 7, 8]


def test_a_verification_of_all_data_has_no_sample(asking: Asking) -> None:
    job = asking.requests.verify_backup(asking.backup(ALL), read_data=True)
    assert "sample" not in job.parameters
    assert [asking.seed(), asking.seed()] == [40, 41]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample": 5.0}, r"a sample is only for reading data; say --read-data"),
        ({"sample": 5.0, "rungs": ["parse"]}, r"say --read-data"),
        ({"seed": 5, "read_data": True}, r"say --sample"),
        ({"sample": 100.0, "read_data": True}, r"a sample of 100 % is not possible"),
        ({"sample": 5.0, "seed": -1, "read_data": True}, r"the seed of a sample is -1"),
        ({"rungs": ["sample"]}, r"'sample' is not a rung; use one of exists, read-data"),
    ],
)
def test_what_is_refused(asking: Asking, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        asking.requests.verify_backup(asking.backup(ALL), **values)
    assert asking.database.jobs.unfinished() == ()
