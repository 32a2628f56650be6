# SPDX-License-Identifier: Apache-2.0
"""Reports the node to the conductor, removes left-over snapshots, watches the disks."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.cassandra.files.staging import staged_restores
from magnetodb_backup.domain.ring import DirectorySpace, NodeReport, RingMember
from magnetodb_backup.errors import BackupError, CassandraUnavailable, ImportRuns, Transient
from magnetodb_backup.tasks.kinds import TAG_PREFIX, TAKES_ROOM, backup_of_tag
from magnetodb_backup.worker.head_room import check_head_room
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import Tasks

LOG = logging.getLogger(__name__)
_LAST_REPORT = 5.0  # seconds


class Conductor(Protocol):
    """Takes reports."""

    def report(self, report: NodeReport) -> frozenset[str]:
        """Return the IDs of live backups; raises BackupError if no conductor answers."""


@dataclass(frozen=True)
class ReportSettings:
    """What a worker reports about itself, and every how many seconds.

    A data directory with less than ``head_room_percent`` free is a problem.
    """

    worker_id: str
    node_control: str
    interval: float
    head_room_percent: float


class Reporter:
    """Sends a report every ``interval`` seconds in a thread of its own."""

    def __init__(
        self,
        node: LocalNode,
        conductor: Conductor,
        tasks: Tasks,
        release: Callable[[str], None],
        remove_staging: Callable[[str], None],
        settings: ReportSettings,
    ) -> None:
        self._node, self._conductor, self._tasks = node, conductor, tasks
        self._release, self._remove_staging = release, remove_staging
        self._settings = settings
        self._stopped = threading.Event()
        self._member: RingMember | None = None
        self._cluster = ""
        self._directories: tuple[str, ...] = ()
        self._trouble = ""
        self._removing: set[str] = set()  # was left at the last report, too
        self._last: NodeReport | None = None
        self._ended = threading.Event()
        self._ended.set()

    def run(self) -> None:
        """Report until ``stop()``; an error is logged once per kind and never ends the loop.

        The last report says that this worker stops: a successor is not taken for a second one.
        """
        self._ended.clear()
        try:
            self._report_until_stopped()
            self._say_goodbye()
        finally:
            self._ended.set()

    def _say_goodbye(self) -> None:
        if self._last is not None:
            try:
                self._conductor.report(replace(self._last, stopping=True))
            except BackupError as error:
                LOG.info("cannot announce the shutdown of this worker: %s", error)

    def _report_until_stopped(self) -> None:
        while not self._stopped.is_set():
            try:
                self.report_once()
            except BackupError as error:
                self._note(f"{error.code}: {error}")
            except Exception:
                LOG.exception("the report failed; the next one follows")
            else:
                self._note("")
            self._stopped.wait(self._settings.interval)

    def stop(self) -> None:
        """End ``run()`` and wait a moment for its last report."""
        self._stopped.set()
        self._ended.wait(_LAST_REPORT)

    def report_once(self) -> None:
        """Look at the node, report it, and remove what jobs that do not live have left.

        The snapshots are listed before the conductor is asked: one that is taken in between
        belongs to a live backup and is not on the list. One that cannot be removed keeps no other.
        Tasks that still work with one are cancelled; it goes once they have ended.
        """
        self._last = report = self.look()
        tags, staged = self._tags(), self._staged()
        live = self._conductor.report(report)
        trouble: BackupError | None = None
        removing: set[str] = set()
        left = [(tag, backup_of_tag(tag), self._release) for tag in sorted(tags)]
        left += [(restore_id, restore_id, self._remove_staging) for restore_id in sorted(staged)]
        for tag, job, remove in left:
            if job is None or job in live:
                continue
            if tag in self._tasks.busy_tags():
                self._tasks.cancel_tagged(tag)  # who ended the job may not have reached us
                continue
            if tag not in self._removing:
                LOG.warning("removing what is left of %s: its job does not run", tag)
            removing.add(tag)
            try:
                remove(tag)
            except ImportRuns as error:
                if tag not in self._removing:
                    LOG.info("%s", error)
            except BackupError as error:
                trouble = error
        self._removing = removing
        if trouble is not None:
            raise trouble

    def _tags(self) -> frozenset[str]:
        """Return our snapshots' tags; none where the directories cannot be read now."""
        try:
            return SnapshotTree(self._directories).tags(TAG_PREFIX)
        except BackupError as error:
            LOG.debug("snapshots are not looked for: %s", error)
            return frozenset()

    def _staged(self) -> frozenset[str]:
        try:
            return staged_restores(self._directories)
        except BackupError as error:
            LOG.debug("staged restores are not looked for: %s", error)
            return frozenset()

    def look(self) -> NodeReport:
        """Return the present state of the node; the report names a problem, if any."""
        problem, down, mode = "", False, ""
        spaces: tuple[DirectorySpace, ...] = ()
        try:
            self._member = self._node.member()
            self._cluster = self._node.cql().cluster_name()
            mode = self._node.cql().gossip_status()
            self._directories = self._node.data_directories()
            self._node.keep(self._cluster, self._member, self._directories)
            tree = SnapshotTree(self._directories)
            tree.check()
            spaces = tree.space()
            every = (*spaces, *tree.linked_space())
            check_head_room(every, self._settings.head_room_percent)
        except BackupError as error:
            problem = str(error)
            down = isinstance(error, CassandraUnavailable)
            remembered = self._node.remembered()
            if down and self._member is None and remembered is not None:
                self._member, self._cluster = remembered.member, remembered.cluster
                self._directories = remembered.data_directories
            if not isinstance(error, Transient):
                # Other tasks free no room by ending: an import renames files, and a restore that
                # ends in the middle leaves tables empty.
                self._tasks.cancel_all(error, TAKES_ROOM)
        problem = problem or self._tasks.stuck()
        return NodeReport(
            worker_id=self._settings.worker_id,
            cluster=self._cluster,
            hostname=socket.gethostname(),
            member=self._member,
            directories=spaces,
            node_control=self._settings.node_control,
            problem=problem,
            down=down,
            mode=mode,
        )

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            if trouble:
                LOG.warning("cannot report: %s", trouble)
            else:
                LOG.info("reports reach the conductor again")
        self._trouble = trouble
