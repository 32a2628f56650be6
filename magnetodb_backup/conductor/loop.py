# SPDX-License-Identifier: Apache-2.0
"""The conductor process: finds unfinished jobs and runs those that it can claim."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from magnetodb_backup.conductor.ownership import Ownership
from magnetodb_backup.conductor.runner import JobRunner
from magnetodb_backup.conductor.waiting import Waiting
from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Fence, Job
from magnetodb_backup.domain.restore.records import RestoreStatus, keeps_fetched_files
from magnetodb_backup.domain.ring import NodeReport
from magnetodb_backup.errors import BackupError, Conflict, NotFound

LOG = logging.getLogger(__name__)


class JobLoop:
    """Polls the database for jobs; ``wake()`` makes it look at once.

    It runs ``concurrent_jobs`` at a time, and beside them half as many that work in the background.
    """

    def __init__(
        self,
        database: Database,
        ownership: Ownership,
        runner: JobRunner,
        *,
        name: str,
        poll_interval: float,
        concurrent_jobs: int,
        stopping: threading.Event,
    ) -> None:
        self._database, self._ownership, self._runner = database, ownership, runner
        self._name, self._poll_interval = name, poll_interval
        self._stopping = stopping
        self._also: list[Callable[[], None]] = []
        self._waiting = Waiting(database, runner.definition)
        self._woken = threading.Event()
        background = max(1, concurrent_jobs // 2)
        self._slots = {
            False: threading.Semaphore(concurrent_jobs),
            True: threading.Semaphore(background),
        }
        self._pool = ThreadPoolExecutor(concurrent_jobs + background, thread_name_prefix="job")
        self._running: set[str] = set()
        self._unknown: set[str] = set()
        self._trouble = ""

    def also(self, work: Callable[[], None]) -> None:
        """Call ``work`` at each look, after the jobs; it must return soon."""
        self._also.append(work)

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

    def ended_restores(self, restores: Collection[str]) -> Mapping[str, bool]:
        """Return those of the restores that have ended, with whether to keep their fetched files.

        A restore that the database does not know may be that of another service.
        """
        ended = {}
        for restore_id in restores:
            with contextlib.suppress(NotFound):
                restore = self._database.restores.get(restore_id)
                if restore.status is not RestoreStatus.RESTORING:
                    ended[restore_id] = keeps_fetched_files(restore.status, restore.phase)
        return ended

    def run(self) -> None:
        """Poll until stopped; an outage of the database is logged once and waited for."""
        self._ownership.start()
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self._database.nodes.conductor_seen(self._name)
                self._look()
                self._trouble = ""
            except BackupError as error:
                if str(error) != self._trouble:
                    LOG.warning("cannot look for jobs: %s", error)
                self._trouble = str(error)
            except Exception:
                LOG.exception("looking for jobs failed; the next look follows")
            self._woken.wait(self._poll_interval)
        self._pool.shutdown(wait=True)
        self._ownership.stop()

    def _look(self) -> None:
        """Take the jobs that can be taken, and show what the others wait for."""
        queued: list[Job] = []
        crowded: list[Job] = []
        for job in self._database.jobs.unfinished():
            self._take(job, queued, crowded)
        self._waiting.show(queued, crowded)
        for work in self._also:
            work()

    def _take(self, job: Job, queued: list[Job], crowded: list[Job]) -> None:
        """Claim a job and run it; add it to one of the lists if it has to wait."""
        definition = self._runner.definition(job.kind)
        if definition is None:
            self._leave_unknown(job)
            return
        slots = self._slots[definition.background]
        if job.id in self._running:
            return
        if not slots.acquire(blocking=False):
            crowded.append(job)
            return
        with contextlib.ExitStack() as otherwise:
            otherwise.callback(slots.release)
            # One that is to be cancelled takes no further step: it need not wait for another.
            exclusive = definition.exclusive and not job.cancel_requested
            with contextlib.suppress(Conflict):  # the job has ended since it was listed
                claimed = self._ownership.claim(job, exclusive=exclusive)
                if claimed is None and exclusive:
                    queued.append(job)
                elif claimed is not None:
                    otherwise.pop_all()
                    self._running.add(job.id)
                    self._pool.submit(self._run, *claimed, slots)

    def _leave_unknown(self, job: Job) -> None:
        if job.id not in self._unknown:
            self._unknown.add(job.id)
            LOG.warning(
                "job %s is of a kind that this version does not know, %r: a newer conductor has "
                "to run it",
                job.id,
                job.kind,
            )

    def _run(self, job: Job, fence: Fence, slots: threading.Semaphore) -> None:
        ended = False
        try:
            self._runner.run(job, fence, lambda: self._ownership.owns(fence))
            ended = True
        except BackupError as error:
            LOG.warning("job %s stops for now: %s", job.id, error)
        except Exception:
            LOG.exception("job %s stops for now", job.id)
        finally:
            self._ownership.release(fence)
            self._running.discard(job.id)
            slots.release()
            if ended:  # what fails at once must not be tried again at once
                self.wake()


class Server(Protocol):
    """Serves requests until it is stopped, and answers those it has taken."""

    def start(self) -> None:
        """Begin to take requests."""

    def stop(self) -> None:
        """Take no more requests."""

    def wait(self) -> None:
        """Wait until the taken requests are answered."""


class Loop(Protocol):
    """Looks again and again for something to do."""

    def run(self) -> None:
        """Look until stopped."""

    def wake(self) -> None:
        """Look now."""


class ConductorService:
    """Starts and stops the conductor's parts: the server, and loops with a thread each."""

    def __init__(
        self, server: Server, loops: Mapping[str, Loop], stopping: threading.Event
    ) -> None:
        self._server, self._loops, self._stopping = server, loops, stopping
        self._threads = [
            threading.Thread(target=loop.run, name=name, daemon=True)
            for name, loop in loops.items()
        ]

    def start(self) -> None:
        """Serve requests, then look for jobs."""
        self._server.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let running steps end at their next check; others adopt their jobs."""
        self._stopping.set()
        for loop in self._loops.values():
            loop.wake()
        self._server.stop()
        self._server.wait()
        for thread in self._threads:
            thread.join(30)
