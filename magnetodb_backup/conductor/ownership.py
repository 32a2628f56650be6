# SPDX-License-Identifier: Apache-2.0
"""What a conductor owns: claimed in the database, renewed by a thread, released at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Fence, Job
from magnetodb_backup.errors import BackupError

LOG = logging.getLogger(__name__)
_BEATS = 3  # in the time after which a silent owner loses what it owns


class Ownership:
    """Claims jobs for one conductor and renews them until they are released or lost.

    ``owner`` is unique to this start of the process. ``timeout``: seconds without a heartbeat
    after which another conductor may claim what this one owns.
    """

    def __init__(self, database: Database, owner: str, *, timeout: float) -> None:
        self._database, self._owner, self._timeout = database, owner, timeout
        self._lock = threading.Lock()
        self._held: set[Fence] = set()
        self._unreleased: set[Fence] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ownership", daemon=True)
        self._trouble = ""

    def start(self) -> None:
        """Begin to renew what is claimed."""
        self._thread.start()

    def stop(self) -> None:
        """End the renewals; what is still owned then is adopted after the timeout."""
        self._stopping.set()
        self._thread.join()

    def claim(self, job: Job, *, exclusive: bool) -> tuple[Job, Fence] | None:
        """Claim a job, and its cluster if ``exclusive``; None if one of them has a live owner.

        :raises Conflict: if the job is finished.
        :raises DatabaseUnavailable: if the database does not answer.
        """
        claimed = self._database.jobs.claim(
            job.id, self._owner, timeout=self._timeout, exclusive=exclusive
        )
        if claimed is not None:
            with self._lock:
                self._held.add(claimed[1])
        return claimed

    def owns(self, fence: Fence) -> bool:
        """Return whether the fence held at the last heartbeat."""
        with self._lock:
            return fence in self._held

    def release(self, fence: Fence) -> None:
        """Let another conductor claim the resources at once; an outage delays that."""
        with self._lock:
            self._held.discard(fence)
            self._unreleased.add(fence)
        self._guarded(self._release)

    def _run(self) -> None:
        while not self._stopping.wait(self._timeout / _BEATS):
            self._guarded(self._beat)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
            self._trouble = ""
        except BackupError as error:
            if str(error) != self._trouble:
                LOG.warning("cannot renew or release what this conductor owns: %s", error)
            self._trouble = str(error)
        except Exception:
            LOG.exception("renewing or releasing what this conductor owns failed")

    def _beat(self) -> None:
        self._renew()
        self._release()

    def _renew(self) -> None:
        with self._lock:
            held = set(self._held)
        if not held:
            return
        lost = self._database.ownership.renew(held)
        with self._lock:
            lost &= self._held  # what has been released meanwhile is not lost
            self._held -= lost
        for fence in lost:
            names = ", ".join(resource.key for resource, _ in fence.generations)
            LOG.warning("another conductor has claimed %s: no heartbeat reached the database for "
                        "[conductor] ownership_timeout = %g s", names, self._timeout)  # fmt: skip

    def _release(self) -> None:
        with self._lock:
            unreleased = set(self._unreleased)
        for fence in unreleased:
            self._database.ownership.release(fence)
            with self._lock:
                self._unreleased.discard(fence)
