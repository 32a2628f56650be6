# SPDX-License-Identifier: Apache-2.0
"""A store that is away, slow, full, refuses us, or breaks what it is sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.functional.comparing import compare
from tests.lab.fault_proxy import FaultProxy
from tests.lab.processes import wait_for
from tests.lab.rig import Rig
from tests.lab.sampling import sampled

_SELECTION = ("--keyspace", "faults")
_PACKS = "/packs/"


def _failure_with(rig: Rig, number: int, **swift: str) -> tuple[str, str]:
    """Return the error of a backup while a worker has other options for Swift, and its log."""
    worker = rig.deployment.worker(number, "-otherwise", {"swift": swift})
    rig.deployment.workers[number].stop()
    worker.start()
    try:
        rig.deployment.wait_live(3)
        error = rig.failed(*_SELECTION)
    finally:
        worker.stop()
    return error, worker.log.read_text()


def test_wrong_credentials(broken: Rig) -> None:
    wrong = "not-the-right-password"
    error, log = _failure_with(broken, 1, password=wrong)
    assert broken.deployment.nodes[1].address in error
    assert "refuses username 'demo'" in error
    assert "check name, password, project and domains in [swift]" in error
    assert wrong not in error + log


def test_user_without_the_role(broken: Rig) -> None:
    error, _ = _failure_with(broken, 2, username="nobody", password="nobodypass")
    assert "403" in error
    assert "'nobody'" in error
    assert "check the credentials in [swift], and the role" in error


def test_swift_down(broken: Rig) -> None:
    broken.swift.kill()
    error = broken.failed(*_SELECTION)
    assert str(broken.proxy.port) in error
    assert "longer than [conductor] outage_deadline" in error


def test_swift_down_for_a_while_in_the_upload(broken: Rig) -> None:
    with broken.held(*_SELECTION, at=_PACKS) as backup:
        broken.swift.kill()
        broken.proxy.clear()
        wait_for(
            lambda: broken.proxy.count(method="PUT", path_contains=_PACKS) > 2,
            deadline=60,
            what="packs that are tried again",
        )
        broken.swift.heal()
        outcome = backup.result(timeout=200)
    assert outcome.code == 0, outcome.err
    compare(broken, outcome.json, ["faults.t"])


def test_swift_that_hangs(broken: Rig) -> None:
    """A request that is never answered is repeated after the time-out."""
    broken.proxy.hang(method="PUT", path_contains=_PACKS, times=1)
    backup = broken.created(*_SELECTION)
    assert broken.proxy.count(method="PUT", path_contains=_PACKS) >= 2
    compare(broken, backup, ["faults.t"])


def test_slow_swift(broken: Rig) -> None:
    broken.proxy.throttle(20_000, path_contains=_PACKS)
    backup = broken.created(*_SELECTION)
    compare(broken, backup, ["faults.t"])


@pytest.mark.parametrize("status", sampled([498, 500, 502, 503, 504], each_commit=[503]))
def test_answers_that_pass(broken: Rig, status: int) -> None:
    """Which answers pass is proved by unit/storage/test_swift."""
    broken.proxy.fail(method="PUT", path_contains=_PACKS, status=status, times=4)
    backup = broken.created(*_SELECTION)
    packs = sum(node["packs_uploaded"] for node in backup["nodes"])
    assert broken.proxy.count(method="PUT", path_contains=_PACKS) == packs + 4


def test_token_that_expires_in_the_upload(broken: Rig) -> None:
    broken.proxy.fail(method="PUT", path_contains=_PACKS, status=401, times=1)
    backup = broken.created(*_SELECTION)
    packs = sum(node["packs_uploaded"] for node in backup["nodes"])
    assert broken.proxy.count(method="PUT", path_contains=_PACKS) >= packs + 1
    compare(broken, backup, ["faults.t"])


def test_store_without_room(broken: Rig) -> None:
    broken.proxy.fail(method="PUT", path_contains=_PACKS, status=507)
    error = broken.failed(*_SELECTION)
    assert "507" in error
    assert "the store is full" in error
    assert "add room" in error


@pytest.mark.parametrize(
    "fault",
    [
        # contract/test_storage cuts requests too.
        pytest.param(
            lambda proxy: proxy.cut_request(method="PUT", path_contains=_PACKS, times=2),
            marks=pytest.mark.nightly,
        ),
        lambda proxy: proxy.corrupt(method="PUT", path_contains=_PACKS, times=2),
    ],
    ids=["cut", "altered"],
)
def test_body_that_does_not_arrive_whole(broken: Rig, fault: Callable[[FaultProxy], None]) -> None:
    fault(broken.proxy)
    backup = broken.created(*_SELECTION)
    packs = sum(node["packs_uploaded"] for node in backup["nodes"])
    assert broken.proxy.count(method="PUT", path_contains=_PACKS) == packs + 2
    compare(broken, backup, ["faults.t"])


@pytest.mark.parametrize(
    "fault",
    [
        lambda proxy: proxy.cut_response(
            method="GET", path_contains=_PACKS, after_bytes=9, times=2
        ),
        # contract/test_storage answers 503 too.
        pytest.param(
            lambda proxy: proxy.fail(method="GET", path_contains=_PACKS, status=503, times=2),
            marks=pytest.mark.nightly,
        ),
    ],
    ids=["cut", "503"],
)
def test_body_that_does_not_come_whole(broken: Rig, fault: Callable[[FaultProxy], None]) -> None:
    backup = broken.created(*_SELECTION)
    fault(broken.proxy)
    verified = broken.deployment.manage("backup", "verify", backup["id"], "--read-data")
    assert verified.code == 0, verified.err
    assert verified.json["problems"] == []


def test_altered_body_is_seen(broken: Rig) -> None:
    """No TCP checksum sees this, ours does."""
    backup = broken.created(*_SELECTION)
    broken.proxy.corrupt(method="GET", path_contains=_PACKS)
    verified = broken.deployment.manage("backup", "verify", backup["id"], "--read-data")
    assert verified.code == 1
    assert "corrupt" in verified.err
