# SPDX-License-Identifier: Apache-2.0
"""The conductor process: finds unfinished jobs and runs those whose lease it gets."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from magnetodb_backup.conductor.runner import JobRunner
from magnetodb_backup.database import Database
from magnetodb_backup.domain.backup.records import Job
from magnetodb_backup.domain.backup.status import JobKind
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import BackupError

LOG = logging.getLogger(__name__)


class Leases(Protocol):
    """Gives out leases by name: a tooz coordinator."""

    def get_lock(self, name: bytes) -> Any:
        """Return the lock of this name."""


def lease_names(job: Job) -> list[str]:
    """Return the leases that a job needs; MySQL's names have at most 64 characters.

    One backup or restore at a time works on a cluster. One that is to be cancelled takes no
    further step, so it need not wait for another one.
    """
    names = [f"job-{job.id}"]
    if job.kind in (JobKind.BACKUP, JobKind.RESTORE) and not job.cancel_requested:
        names.append(f"cluster-{hashlib.sha256(job.cluster.encode()).hexdigest()[:48]}")
    return names


class JobLoop:
    """Polls the database for jobs; ``wake()`` makes it look at once."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        runner: JobRunner,
        *,
        name: str,
        poll_interval: float,
        concurrent_jobs: int,
        stopping: threading.Event,
    ) -> None:
        self._database, self._leases, self._runner = database, leases, runner
        self._name, self._poll_interval = name, poll_interval
        self._stopping = stopping
        self._woken = threading.Event()
        self._slots = threading.Semaphore(concurrent_jobs)
        self._pool = ThreadPoolExecutor(concurrent_jobs, thread_name_prefix="job")
        self._running: set[str] = set()
        self._trouble = ""

    def wake(self) -> None:
        """Look for jobs now instead of at the end of the interval."""
        self._woken.set()

    def take_report(self, report: NodeReport) -> tuple[str, ...]:
        """Record a worker's report; return the IDs of its cluster's live backups and restores."""
        self._database.nodes.report(report)
        return (
            *self._database.backups.live_ids(report.cluster),
            *self._database.restores.live_ids(report.cluster),
        )

    def run(self) -> None:
        """Poll until stopped; an outage of the database is logged once and waited for."""
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self._database.nodes.conductor_seen(self._name)
                for job in self._database.jobs.unfinished():
                    self._take(job)
                self._trouble = ""
            except BackupError as error:
                if str(error) != self._trouble:
                    LOG.warning("cannot look for jobs: %s", error)
                self._trouble = str(error)
            except Exception:
                LOG.exception("looking for jobs failed; the next look follows")
            self._woken.wait(self._poll_interval)
        self._pool.shutdown(wait=True)

    def _take(self, job: Job) -> None:
        if job.id in self._running or not self._slots.acquire(blocking=False):
            return
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(self._slots.release)
            leases = self._acquire(job)
            if leases is not None:
                otherwise.pop_all()
                self._running.add(job.id)
                self._pool.submit(self._run, job, leases)

    def _acquire(self, job: Job) -> list[Any] | None:
        """Get the job's lease and, for a backup, its cluster's: one backup at a time there."""
        held: list[Any] = []
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(_release, held)
            for name in lease_names(job):
                lock = self._leases.get_lock(name.encode())
                if not lock.acquire(blocking=False):
                    return None
                held.append(lock)
            otherwise.pop_all()
        return held

    def _run(self, job: Job, leases: list[Any]) -> None:
        ended = False
        try:
            self._runner.run(
                self._database.jobs.claim(job.id, self._name),
                lambda: all(lock.acquired for lock in leases),
            )
            ended = True
        except BackupError as error:
            LOG.warning("job %s stops for now: %s", job.id, error)
        except Exception:
            LOG.exception("job %s stops for now", job.id)
        finally:
            _release(leases)
            self._running.discard(job.id)
            self._slots.release()
            if ended:  # what fails at once must not be tried again at once
                self.wake()


def _release(locks: list[Any]) -> None:
    for lock in reversed(locks):
        try:
            lock.release()
        except Exception:
            LOG.exception("a lease could not be given back; it ends with this process")


class Server(Protocol):
    """Serves requests until it is stopped, and answers those it has taken."""

    def start(self) -> None:
        """Begin to take requests."""

    def stop(self) -> None:
        """Take no more requests."""

    def wait(self) -> None:
        """Wait until the taken requests are answered."""


class ConductorService:
    """Starts and stops the conductor's parts."""

    def __init__(self, server: Server, loop: JobLoop, stopping: threading.Event) -> None:
        self._server, self._loop, self._stopping = server, loop, stopping
        self._thread = threading.Thread(target=loop.run, name="job-loop", daemon=True)

    def start(self) -> None:
        """Serve requests, then look for jobs."""
        self._server.start()
        self._thread.start()

    def stop(self) -> None:
        """Let running steps end at their next check; others adopt their jobs."""
        self._stopping.set()
        self._loop.wake()
        self._server.stop()
        self._server.wait()
        self._thread.join(30)
