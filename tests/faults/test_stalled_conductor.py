# SPDX-License-Identifier: Apache-2.0
"""A conductor that the system suspends in a step, and resumes after another one did its work."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.functional.comparing import compare
from tests.lab.processes import ManagedProcess, wait_for
from tests.lab.rig import Rig

_SELECTION = ("--keyspace", "faults")
_NIGHTLY = pytest.mark.nightly


@pytest.fixture
def second(broken: Rig) -> Iterator[ManagedProcess]:
    """A second conductor of the rig's deployment."""
    conductor = broken.deployment.second_conductor()
    conductor.start()
    wait_for(lambda: "started" in conductor.tail(), deadline=30, what="the second conductor")
    yield conductor
    conductor.resume()
    conductor.stop()


def _owner(rig: Rig, second: ManagedProcess) -> tuple[ManagedProcess, ManagedProcess]:
    """Return the conductor that runs the job, and the other one."""
    first = rig.deployment.conductor
    (owner,) = rig.deployment.owners_of_jobs()
    return (first, second) if owner.endswith(f":{first.pid}") else (second, first)


@pytest.mark.parametrize(
    ("step", "at"),
    [
        pytest.param("prepare", "{host_id}", marks=_NIGHTLY),
        pytest.param("schema_before", "/schema.cql", marks=_NIGHTLY),
        ("upload", "/packs/"),
        pytest.param("upload", "/nodes/", id="node manifest", marks=_NIGHTLY),
        ("commit", "/manifest.json"),
    ],
)
def test_stalled_conductor_changes_nothing(
    broken: Rig, second: ManagedProcess, step: str, at: str
) -> None:
    deployment = broken.deployment
    at = at.format(host_id=deployment.nodes[1].host_id)
    with broken.held(*_SELECTION, at=at) as backup:
        stalled, other = _owner(broken, second)
        (running,) = deployment.manage("backup", "list", "--status", "CREATING").json
        assert deployment.database.backups.get(running["id"]).phase == step
        stalled.pause()
        wait_for(lambda: _owner(broken, second)[0] is other, deadline=60, what="the adoption")
        broken.proxy.clear()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    before = deployment.manage("backup", "show", outcome.json["id"]).json
    assert before["status"] == "CREATED"
    stalled.resume()
    wait_for(
        lambda: "is left to another conductor" in stalled.tail(200),
        deadline=60,
        what="the resumed conductor's end of the job",
    )
    assert deployment.manage("backup", "show", outcome.json["id"]).json == before
    body = broken.reader.object(f"backups/{before['id']}/manifest.json")
    kept = deployment.database.backups.get(before["id"])
    assert hashlib.sha256(body).hexdigest() == kept.manifest_sha256
    verified = deployment.manage("backup", "verify", before["id"], "--read-data")
    assert verified.code == 0, verified.err
    compare(broken, before, ["faults.t"])
    broken.wait_clean()
