# SPDX-License-Identifier: Apache-2.0
"""What a kind of job is to the conductor, and what it works with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from magnetodb_backup.conductor.any_worker import AnyWorker, Choice, WorkerWaits
from magnetodb_backup.conductor.fanout import Fanout, Workers
from magnetodb_backup.database import Database
from magnetodb_backup.domain.jobs import Job, SubjectKind
from magnetodb_backup.errors import BackupError, Cancelled
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.storage.driver import StorageDriver

_CLEANING = 10.0  # seconds; workers remove what is left when they report next


@dataclass(frozen=True)
class BuildBounds:
    """Bounds of waits for views and indexes: without progress, and in all (0: no bound)."""

    stall: float = 3600.0
    longest: float = 0.0


@dataclass(frozen=True)
class CollectionSettings:
    """Times in seconds: how long a pack is dead before it is removed; of ``Collect.lease``."""

    grace: float = 86400.0
    lease: float = 60.0


@dataclass(frozen=True)
class RunnerSettings:
    """Times in seconds."""

    prefix: str
    poll_interval: float
    worker_timeout: float
    outage_deadline: float
    rounds: int
    builds: BuildBounds = BuildBounds()
    stall_deadline: float = 3600.0
    undelete_period: float = 604800.0
    collection: CollectionSettings = CollectionSettings()


@dataclass(frozen=True)
class JobContext:
    """What one job works with.

    Writes through ``database`` raise OwnershipLost once another conductor owns the job.
    ``raise_if_cancelled`` raises when the job must take no further step; ``wait`` waits for so
    many seconds or until the process stops. With ``endures`` no outage ends the job.
    """

    database: Database
    workers: Workers
    storage: Callable[[], StorageDriver]
    settings: RunnerSettings
    raise_if_cancelled: Callable[[], None]
    wait: Callable[[float], None]
    endures: bool = False

    def repository(self, cluster: str) -> ClusterRepository:
        """Return the repository of a cluster's manifests."""
        return ClusterRepository(self.storage(), self.settings.prefix, cluster)

    def as_of(self, moment: datetime | None) -> JobContext:
        """Return the context whose store is as it was at ``moment``, if that is not None."""
        if moment is None:
            return self
        return replace(self, storage=lambda: self.storage().as_of(moment))

    def fanout(self) -> Fanout:
        """Return what runs tasks on workers."""
        return Fanout(
            self.workers,
            poll_interval=self.settings.poll_interval,
            outage_deadline=math.inf if self.endures else self.settings.outage_deadline,
            raise_if_cancelled=self.raise_if_cancelled,
            stall_deadline=self.settings.stall_deadline,
        )

    def any_worker(
        self, choice: Choice, show: Callable[[str], None] = lambda text: None
    ) -> AnyWorker:
        """Return what runs a task on any one live worker of those to choose from.

        ``show`` gets the reason for each wait, and an empty text at its end.
        """
        settings = self.settings
        return AnyWorker(
            self.database,
            self.fanout(),
            choice,
            raise_if_cancelled=self.raise_if_cancelled,
            wait=self.wait,
            waits=WorkerWaits(
                settings.worker_timeout, settings.outage_deadline, self.endures, show
            ),
        )

    def enduring(self) -> JobContext:
        """Return the context of steps that no outage ends: waiting costs less than giving up."""
        return replace(self, endures=True)

    def undoing(self) -> JobContext:
        """Return the context of a clean-up: the cancellation that ends the job does not end it.

        It still ends when this process stops, or another conductor owns the job.
        """

        def raise_if_left() -> None:
            with suppress(Cancelled):
                self.raise_if_cancelled()

        return replace(self, raise_if_cancelled=raise_if_left)

    def cleaning_fanout(self) -> Fanout:
        """Return a fan-out for the clean-up: with short waits, and not ended by a cancellation."""
        return Fanout(
            self.workers,
            poll_interval=min(0.5, self.settings.poll_interval),
            outage_deadline=min(_CLEANING, self.settings.outage_deadline),
            raise_if_cancelled=self.undoing().raise_if_cancelled,
        )


class JobDefinition(Protocol):
    """A kind of job. One object serves all jobs of its kind.

    An ``exclusive`` job is the only one of its cluster that is exclusive at a time. One that works
    in the ``background`` may take days, and keeps no other kind of job waiting.
    """

    @property
    def kind(self) -> str:
        """The kind as in the jobs' records."""

    @property
    def subject(self) -> SubjectKind:
        """The kind of thing that the job is about."""

    @property
    def exclusive(self) -> bool:
        """Whether the job needs its cluster for itself."""

    @property
    def background(self) -> bool:
        """Whether the job has slots of its own."""

    def run(self, job: Job, context: JobContext) -> Mapping[str, Any] | None:
        """Take the job's steps that have no result yet; return the result of the job.

        :raises BackupError: a Transient one to be called again, any other to be ended by ``fail``.
        """

    def fail(self, job: Job, error: BackupError, context: JobContext) -> None:
        """Persist the failure, clean up, then publish the final status.

        A crash in between loses nothing then. It may be called again.
        """
