# SPDX-License-Identifier: Apache-2.0
"""The leases by which conductors share jobs, on each back end: files and MySQL."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg
from sqlalchemy.engine import make_url

from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.conductor.loop import lease_names
from magnetodb_backup.conductor.runner import JobRunner, RunnerSettings
from magnetodb_backup.database import connect
from magnetodb_backup.domain.backup.records import BackupRequest
from magnetodb_backup.domain.backup.status import BackupStatus, JobKind, JobStatus
from magnetodb_backup.errors import InvalidValue, WorkerUnavailable
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.tasks.kinds import TaskKind, TaskStatus
from tests.lab.deployment import write_configuration
from tests.lab.mariadb import MariaDB
from tests.lab.processes import ManagedProcess, wait_for
from tests.unit.domain.samples import JOB

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tooz")
NAME = f"job-{uuid.uuid4()}"
_HOLDER = """
import sys, time
from magnetodb_backup.cmd import configuration, parts
conf = configuration.load(["--config-file", sys.argv[1]])
lock = parts.open_leases(conf, "holder").get_lock(sys.argv[2].encode())
print("held" if lock.acquire(blocking=False) else "refused", flush=True)
time.sleep(600)
"""


def _backend_url(mariadb: MariaDB) -> str:
    url = make_url(mariadb.create_database())
    return f"mysql://lab:{mariadb.password}@{mariadb.address}:{mariadb.port}/{url.database}"


@pytest.fixture(params=["file", "mysql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A configuration file; files are the default back end."""
    url = None
    if request.param == "mysql":
        url = _backend_url(request.getfixturevalue("mariadb"))
    return write_configuration(
        tmp_path / "x.conf",
        {"DEFAULT": {"state_dir": tmp_path / "state"}, "coordination": {"backend_url": url}},
    )


Open = Callable[[str], Any]


@pytest.fixture
def open_leases(config: Path) -> Iterator[Open]:
    conf = configuration.load(["--config-file", str(config)], cfg.ConfigOpts())
    opened = []

    def open_leases(name: str) -> Any:
        opened.append(parts.open_leases(conf, name))
        return opened[-1]

    yield open_leases
    for coordinator in opened:
        coordinator.stop()


def _get(leases: Any, name: str = NAME) -> Any:
    """Return the lease if it was free."""
    lock = leases.get_lock(name.encode())
    return lock if lock.acquire(blocking=False) else None


def test_one_holder_in_a_process(open_leases: Open) -> None:
    mine, other = open_leases("a"), open_leases("b")
    lock = _get(mine)
    assert lock.acquired
    assert _get(other) is None
    assert _get(mine) is None
    assert _get(other, NAME + "x").release()
    assert lock.release()
    assert not lock.acquired
    assert _get(other).release()


def test_holder_in_another_process_is_killed(
    open_leases: Open, config: Path, tmp_path: Path
) -> None:
    mine = open_leases("mine")
    holder = ManagedProcess(
        "holder", [sys.executable, "-c", _HOLDER, str(config), NAME], log=tmp_path / "holder.log"
    )
    holder.start()
    try:
        wait_for(lambda: "held" in holder.tail(), deadline=60, what=f"a holder\n{holder.tail()}")
        assert _get(mine) is None
        holder.pause()  # whoever is only slow keeps what it holds
        assert _get(mine) is None
    finally:
        holder.kill()
    lock = wait_for(lambda: _get(mine), deadline=10, what="the lease of a killed process")
    refused = subprocess.run(
        [sys.executable, "-c", _HOLDER.replace("time.sleep(600)", ""), str(config), NAME],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.stdout == "refused\n", refused.stderr
    lock.release()


def test_clusters_of_any_name_have_leases_of_their_own(open_leases: Open) -> None:
    leases = open_leases("a")
    job = replace(JOB, kind=JobKind.BACKUP)
    clusters = ["Prod", "prod", "../prod", "ß" * 255, "ß" * 254]
    locks = [_get(leases, lease_names(replace(job, cluster=c))[1]) for c in clusters]
    assert all(locks)
    assert _get(leases, lease_names(replace(job, id="other", cluster=clusters[3]))[1]) is None
    for lock in locks:
        lock.release()


def test_only_backups_need_their_cluster() -> None:
    assert lease_names(JOB) == [f"job-{JOB.id}"]
    assert len(lease_names(replace(JOB, kind=JobKind.BACKUP))) == 2


def test_restart_of_the_server_frees_the_leases(tmp_path: Path, mariadb: MariaDB) -> None:
    conf = cfg.ConfigOpts()
    text = {"coordination": {"backend_url": _backend_url(mariadb)}}
    configuration.load(["--config-file", str(write_configuration(tmp_path / "x", text))], conf)
    mine, other = (parts.open_leases(conf, name) for name in "ab")
    lock = _get(mine)
    mariadb.process.kill()
    mariadb.start()
    adopted = _get(other)
    assert adopted.acquired
    assert _get(mine) is None
    lock.acquired = False  # it could not know; the job's record tells it (JobRunner)
    adopted.release()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://lab:hush@127.0.0.1:1/x",
        "floppy://lab:hush@somewhere",
        "file:///proc/nowhere?hush",
        "mysql://lab@somewhere:hush/x",
    ],
)
def test_unusable_back_end_is_named(tmp_path: Path, url: str) -> None:
    conf = cfg.ConfigOpts()
    text = {"coordination": {"backend_url": url}}
    configuration.load(["--config-file", str(write_configuration(tmp_path / "x", text))], conf)
    with pytest.raises(InvalidValue, match=r"\[coordination\] backend_url") as caught:
        parts.open_leases(conf, "a")
    assert "hush" not in str(caught.value)


class NoWorkers:
    """A cluster whose workers do not answer."""

    def start(
        self, worker_id: str, task_id: str, kind: TaskKind, arguments: Mapping[str, Any]
    ) -> None:
        raise WorkerUnavailable(worker_id)

    def status(self, worker_id: str, task_id: str) -> TaskStatus:
        raise WorkerUnavailable(worker_id)

    def cancel(self, worker_id: str, task_id: str) -> None:
        raise WorkerUnavailable(worker_id)


@pytest.mark.parametrize("when", ["before it runs", "while it runs"])
def test_job_that_another_conductor_claimed_is_given_up(tmp_path: Path, when: str) -> None:
    database = connect(f"sqlite:///{tmp_path / 'x.sqlite'}")
    database.sync()
    backup = database.backups.create(BackupRequest({"type": "all"}), str(uuid.uuid4()), "c")
    (job,) = database.jobs.unfinished()
    claimed = database.jobs.claim(job.id, "slow")
    used = []

    def storage() -> MemoryDriver:
        used.append(database.jobs.claim(job.id, "quick"))
        return MemoryDriver()

    if when == "before it runs":
        database.jobs.claim(job.id, "quick")
    settings = RunnerSettings(
        prefix="p", poll_interval=0.01, worker_timeout=1, outage_deadline=1, rounds=1
    )
    runner = JobRunner(database, NoWorkers(), storage, settings, threading.Event())
    runner.run(claimed, lambda: True)
    assert len(used) == (when == "while it runs")
    kept = database.jobs.get(job.id)
    assert (kept.owner, kept.status) == ("quick", JobStatus.RUNNING)
    assert database.backups.get(backup.id).status is BackupStatus.CREATING
