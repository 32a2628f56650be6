# SPDX-License-Identifier: Apache-2.0
"""Restores into the ring that the backup was made of, while Cassandra serves."""

from __future__ import annotations

import pytest

from tests.functional.depot import Depot
from tests.lab.rig import Rig


@pytest.fixture(scope="module")
def depot(rig: Rig) -> Depot:
    made = Depot("depot")
    made.make(rig)
    return made


@pytest.fixture(scope="module")
def backup(rig: Rig, depot: Depot) -> str:
    return str(rig.created("--keyspace", depot.keyspace)["id"])


def test_dropped_keyspace(rig: Rig, depot: Depot, backup: str) -> None:
    before = depot.rows(rig.cluster)
    found = depot.found_by_index(rig.cluster)
    rig.execute("DROP KEYSPACE depot")
    outcome = rig.deployment.manage("restore", "create", backup, "--wait", "--timeout", "240")
    print(outcome.err)
    assert outcome.code == 0, outcome.err
    assert depot.rows(rig.cluster) == before
    assert depot.found_by_index(rig.cluster) == found
