# SPDX-License-Identifier: Apache-2.0
"""Reports the node to the conductor, removes what jobs have left, watches the disks."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.domain.ring import DirectorySpace, NodeReport, RingMember
from magnetodb_backup.errors import (
    BackupError,
    CassandraUnavailable,
    ImportRuns,
    NoSpace,
    StagingHeld,
    Transient,
)
from magnetodb_backup.tasks.kinds import TAG_PREFIX, TAKES_ROOM, backup_of_tag
from magnetodb_backup.worker.head_room import check_head_room
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.tasks import Tasks

LOG = logging.getLogger(__name__)
_LAST_REPORT = 5.0  # seconds


class Conductor(Protocol):
    """Takes reports."""

    def report(self, report: NodeReport) -> frozenset[str]:
        """Return the IDs of live jobs; raises BackupError if no conductor answers."""

    def ended_restores(self, restores: Collection[str]) -> Mapping[str, bool]:
        """Return those of the restores (by ID) that have ended, with whether to keep their files.

        Raises BackupError if no conductor answers, or the one that does is of an older release.
        """


class StagedFiles(Protocol):
    """What restores have on this node; raises BackupError."""

    def restores(self, directories: Sequence[str]) -> frozenset[str]:
        """Return the IDs of the restores that have files in these data directories."""

    def note_live(self, directories: Sequence[str], restores: Collection[str]) -> None:
        """Note that these restores run."""

    def end(self, directories: Sequence[str], restore_id: str, *, keep: bool) -> None:
        """End the use of all files of a restore; with ``keep`` fetched files stay.

        Raises ImportRuns or StagingHeld if they are still in use.
        """

    def expire(self, directories: Sequence[str], live: Collection[str]) -> None:
        """Remove what no restore has used for too long; ``live`` are the IDs of those that run."""

    def make_room(self, directories: Sequence[str]) -> None:
        """Remove some files that no restore uses, if there are any."""


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
        staged: StagedFiles,
        settings: ReportSettings,
    ) -> None:
        self._node, self._conductor, self._tasks = node, conductor, tasks
        self._release, self._staged = release, staged
        self._settings = settings
        self._stopped = threading.Event()
        self._member: RingMember | None = None
        self._cluster = ""
        self._directories: tuple[str, ...] = ()
        self._trouble = ""
        self._removing: set[str] = set()  # was left at the last report, too
        self._last: NodeReport | None = None
        self._short_of_room = False
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

        Snapshots and restores are listed before the conductor is asked: one that begins in between
        belongs to a live job and is not on the list. One that cannot be removed keeps no other.
        Tasks that still work with one are cancelled; it goes once they have ended.
        """
        self._last = report = self.look()
        tags, restores = self._tags(), self._restores()
        live = self._conductor.report(report)
        left: dict[str, Callable[[], None]] = {
            tag: partial(self._release, tag)
            for tag in sorted(tags)
            if (backup := backup_of_tag(tag)) is not None and backup not in live
        }
        dead = (restores or frozenset()) - live
        for restore_id, keep in self._ended_restores(dead).items():
            left[restore_id] = partial(self._staged.end, self._directories, restore_id, keep=keep)
        trouble = self._remove(left, dead)
        if restores is not None:
            self._attend_to_staged(live)
        if trouble is not None:
            raise trouble

    def _remove(
        self, left: Mapping[str, Callable[[], None]], dead: Collection[str]
    ) -> BackupError | None:
        """Remove what jobs that ended have left; return the last error."""
        trouble: BackupError | None = None
        removing: set[str] = set()
        busy = self._tasks.busy_tags()
        for tag in busy & {*left, *dead}:
            self._tasks.cancel_tagged(tag)  # who ended the job may not have reached us
        for tag, remove in left.items():
            if tag in busy:
                continue
            if tag not in self._removing:
                LOG.warning("removing what is left of %s: its job does not run", tag)
            removing.add(tag)
            try:
                remove()
            except (ImportRuns, StagingHeld) as error:
                if tag not in self._removing:
                    LOG.info("%s", error)
            except BackupError as error:
                trouble = error
        self._removing = removing
        return trouble

    def _attend_to_staged(self, live: frozenset[str]) -> None:
        self._staged.note_live(self._directories, live)
        self._staged.expire(self._directories, live)
        if self._short_of_room:
            self._staged.make_room(self._directories)

    def _ended_restores(self, dead: frozenset[str]) -> Mapping[str, bool]:
        """Return which restores have ended for certain; others may be another service's."""
        if not dead:
            return {}
        try:
            return self._conductor.ended_restores(sorted(dead))
        except BackupError as error:
            LOG.debug("cannot ask for the ends of restores: %s", error)
            return {}

    def _tags(self) -> frozenset[str]:
        """Return our snapshots' tags; none where the directories cannot be read now."""
        try:
            return SnapshotTree(self._directories).tags(TAG_PREFIX)
        except BackupError as error:
            LOG.debug("snapshots are not looked for: %s", error)
            return frozenset()

    def _restores(self) -> frozenset[str] | None:
        """Return the restores with files here; None where the directories cannot be read now."""
        try:
            return self._staged.restores(self._directories)
        except BackupError as error:
            LOG.debug("staged restores are not looked for: %s", error)
            return None

    def look(self) -> NodeReport:
        """Return the present state of the node; the report names a problem, if any."""
        problem, down, mode = "", False, ""
        self._short_of_room = False
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
            self._short_of_room = isinstance(error, NoSpace)
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
