# SPDX-License-Identifier: Apache-2.0
"""The tasks of an offline restore: stop Cassandra, exchange its files, start it again.

Each task can be repeated, by a new process too, and works without Cassandra.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from magnetodb_backup.cassandra.files.exchange import (
    Exchange,
    exchange_problems,
    unfinished_exchanges,
    unfinished_writes,
)
from magnetodb_backup.cassandra.files.ledger import Ledger, Staged
from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import IndexDescription, TableDescription, TableName
from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    CommandFailed,
    StagedFilesLost,
    WrongNode,
)
from magnetodb_backup.tasks.cluster import Member
from magnetodb_backup.tasks.restore import Done, RestoreTask, own_parts
from magnetodb_backup.tasks.restore_offline import (
    BuildIndexes,
    Discard,
    IndexesBuilt,
    Place,
    Placed,
    PutBack,
    PutBackDone,
    Quiesce,
    Readiness,
    Rehearse,
    Start,
    Started,
    Stop,
    Stopped,
)
from magnetodb_backup.worker.dispatch import TaskHandler, handles
from magnetodb_backup.worker.node import CqlConnection, LocalNode
from magnetodb_backup.worker.remembered import KnownNode
from magnetodb_backup.worker.restore.confirm import confirm_staged
from magnetodb_backup.worker.restore.waiting import Bounds, wait_until_built
from magnetodb_backup.worker.tasks import TaskContext

LOG = logging.getLogger(__name__)
_LOOK_EVERY = 0.5  # seconds
# What happened to the node: it refuses clients; it has nothing to replay; it did not run before the
# restore; it may have read the restored files.
_QUIET, _DRAINED, _WAS_DOWN, _STARTED = "quiet", "drained", "was down", "started"


class Process(Protocol):
    """Cassandra's process; time-outs in seconds."""

    @property
    def stop_timeout(self) -> float:
        """Seconds within which Cassandra has to stop."""

    @property
    def start_timeout(self) -> float:
        """Seconds within which Cassandra has to serve clients."""

    def problems(self) -> list[str]:
        """Return what is not configured; empty if both commands are."""

    def serves_clients(self) -> bool:
        """Return whether CQL's port takes connections."""

    def stop(self, raise_if_cancelled: Callable[[], None]) -> None:
        """Run the stop command; raises CommandFailed."""

    def start(self, raise_if_cancelled: Callable[[], None]) -> None:
        """Run the start command; raises CommandFailed."""


class OfflineWork:
    """Works on the stopped node."""

    def __init__(self, node: LocalNode, process: Process) -> None:
        self._node, self._process = node, process

    def handlers(self) -> list[TaskHandler]:
        """Return the handler of each kind of task."""
        return [
            handles(Rehearse, self._rehearse),
            handles(Quiesce, self._quiesce),
            handles(Stop, self._stop),
            handles(Place, self._place),
            handles(Start, self._start),
            handles(BuildIndexes, self._build_indexes),
            handles(PutBack, self._put_back),
            handles(Discard, self._discard),
        ]

    # The tasks.

    def _rehearse(self, task: Rehearse, context: TaskContext) -> Readiness:
        """Report what would keep this node from being restored; change nothing."""
        known = self._node.known()
        problems = self._process.problems()
        problems += exchange_problems(known.data_directories, _tables(task), _others(known))
        if self._process.serves_clients():
            mode = self._node.control.operation_mode()
            if mode != "NORMAL":
                problems.append(f"the node is {mode}, not NORMAL; wait until it has joined")
        left = unfinished_exchanges(known.data_directories)
        free = (space.free for space in SnapshotTree(known.data_directories).space())
        return Readiness(
            tuple(problems), tuple(free), {restore: tuple(paths) for restore, paths in left.items()}
        )

    def _quiesce(self, task: Quiesce, context: TaskContext) -> Done:
        """Refuse clients, and finish the writes that have begun, while the other nodes run."""
        if self._runs() and self._node.control.operation_mode() == "NORMAL":
            exchange = self._exchange(task)
            exchange.prepare()
            exchange.mark(_QUIET)
            self._node.control.disable_clients()
            self._node.control.replay_batches()
        return Done()

    def _stop(self, task: Stop, context: TaskContext) -> Stopped:
        """Stop Cassandra so that it has nothing to replay at its next start.

        :raises CommandFailed: if it does not stop, or was stopped without having been drained and
            there is something that its start would replay.
        """
        exchange = self._exchange(task)
        exchange.prepare()
        if self._runs():
            self._drain_and_stop(exchange, context, keep_hints=task.single)
        elif not exchange.marked(_DRAINED):
            if not task.everything and not task.single:
                raise CommandFailed(
                    "Cassandra does not run, and was not drained: its commit log may have newer "
                    "writes than the backup, which its start would put on top of the restored "
                    "rows; start it, then restore again"
                )
            exchange.mark(_WAS_DOWN)
        return Stopped(exchange.marked(_DRAINED))

    def _drain_and_stop(
        self, exchange: Exchange, context: TaskContext, *, keep_hints: bool
    ) -> None:
        control = self._node.control
        exchange.mark(_DRAINED, False)
        if control.operation_mode() != "DRAINED":
            # Hints are newer writes; those of a single node belong to others, which keep theirs.
            if not keep_hints:
                control.truncate_hints()
            context.raise_if_cancelled()
            control.drain()
        exchange.mark(_DRAINED)
        self._stop_command(context)
        exchange.mark(_QUIET, False)

    def _place(self, task: Place, context: TaskContext) -> Placed:
        """Put the restored files in the place of the original ones, which are moved aside."""
        exchange = self._exchange(task, before_change=self._require_stopped)
        known = self._last_known_node()
        if exchange.marked(_STARTED):
            return Placed()  # by an earlier attempt whose end was not reported
        self._require_stopped()
        staging = Staging(known.data_directories, task.restore_id)
        confirm_staged(staging, own_parts(task), task.expected)
        wanted = _wanted(staging, task.sources)
        ledger = Ledger(staging)
        staged: dict[TableName, dict[int, list[Path]]] = {}
        for source in task.sources:
            for number, name, path in staging.places(source):
                staged.setdefault(name, {}).setdefault(number, []).append(path)
        sstables = 0
        for table in _tables(task):
            context.raise_if_cancelled()
            for source in task.sources:
                ledger.hand_over(source, table.name, wanted.get((source, table.name), {}))
            placed = exchange.exchange(table, staged.pop(table.name, {}))
            _require_complete(table, placed, task.sources, wanted)
            sstables += placed
        if staged:
            raise CommandFailed(f"files of {', '.join(map(str, staged))} are staged for no table")
        whole = task.everything and not task.single
        replays = whole and not exchange.marked(_DRAINED)
        for table in unfinished_writes(known.data_directories) if whole else ():
            sstables += exchange.exchange(table, {})
        # A single node keeps its newer writes; its replicas have those for the restored tables.
        kept = {known.hints_directory} if task.single else set()
        kept |= set() if replays else {known.commitlog_directory}
        for directory in _others(known):
            # Caches know positions in the old files, and old counts; hints are newer writes.
            if directory not in kept:
                exchange.take_others(directory)
        self._require_stopped()
        return Placed(sstables)

    def _start(self, task: Start, context: TaskContext) -> Started:
        """Start Cassandra and prove that it is the node that was stopped.

        :raises WrongNode: if its host ID or its tokens are other ones.
        :raises CommandFailed: if it runs, but this restore has not started it: it may have opened
            files during their exchange.
        """
        exchange = self._exchange(task)
        exchange.prepare()
        if not exchange.marked(_STARTED):
            self._require_stopped()
        exchange.mark(_STARTED)
        member = self._bring_up(context, exchange)
        tokens = sorted(int(t) for t in task.tokens)
        if member.host_id != task.host_id or sorted(member.tokens) != tokens:
            raise WrongNode(
                f"Cassandra at {member.address} has the host ID {member.host_id} and the tokens "
                f"{_few(member.tokens)}; before it was {task.host_id} with "
                f"{_few(tokens)}. The keyspace system in its data directories was exchanged; put "
                "the node's own back"
            )
        return Started(Member.of(member))

    def _build_indexes(self, task: BuildIndexes, context: TaskContext) -> IndexesBuilt:
        """Rebuild the secondary indexes that Cassandra does not build by itself."""
        tables = [t.name for t in _tables(task)]
        indexes = self._node.cql().indexes(tables)
        for table in tables:
            context.raise_if_cancelled()
            names = [i.name for i in indexes if i.table == table and not i.is_with_sstables]
            if names:
                self._node.control.rebuild_indexes(table, names)
        building = {
            f"index {TableName(i.table.keyspace, i.name)}": partial(_is_ready, i)
            for i in indexes
            if i.is_attached
        }
        bounds = Bounds(task.seconds, task.longest)
        wait_until_built(self._node, building, bounds, "rebuild_index", context)
        return IndexesBuilt(tuple((i.table.keyspace, i.name) for i in indexes))

    def _put_back(self, task: PutBack, context: TaskContext) -> PutBackDone:
        """After a failure: undo the exchange if asked and possible, and start Cassandra.

        A node that did not run before the restore stays stopped if its original files are back.
        """
        exchange, back = self._exchange(task), False
        was_down = task.down or exchange.marked(_WAS_DOWN)
        if task.files and not exchange.marked(_STARTED):
            if exchange.touched:
                self._require_stopped()
                tables = exchange.put_back()
                if self._runs():  # with some of the files only
                    self._stop_command(context)
                LOG.warning("the original files of %d directories are back in place", tables)
            back = True
        if not (back and was_down):
            self._bring_up(context, exchange)
        if back:
            exchange.remove()
        return PutBackDone(back)

    def _discard(self, task: Discard, context: TaskContext) -> Done:
        """Remove the original files: the restore has succeeded."""
        self._exchange(task).remove()
        return Done()

    # Parts.

    def _last_known_node(self) -> KnownNode:
        """Return the node as last seen if possible: it may be stopped, or just starting."""
        return self._node.remembered() or self._node.known()

    def _exchange(
        self, task: RestoreTask[Any], before_change: Callable[[], None] = lambda: None
    ) -> Exchange:
        known = self._last_known_node()
        others = _others(known)
        return Exchange(known.data_directories, task.restore_id, others, before_change)

    def _runs(self) -> bool:
        return self._process.serves_clients() or self._node.control.listens()

    def _require_stopped(self) -> None:
        if self._runs():
            raise CommandFailed(
                "Cassandra runs again, though it was stopped for the restore; what starts it "
                "(a supervisor, configuration management) must not do so before the restore ends"
            )

    def _stop_command(self, context: TaskContext) -> None:
        """Run the stop command and wait until nothing listens."""
        LOG.warning("stopping Cassandra for a restore")
        self._process.stop(context.raise_if_cancelled)
        self._node.forget_connection()
        deadline = time.monotonic() + self._process.stop_timeout
        while self._runs():
            context.raise_if_cancelled()
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"Cassandra still listens {self._process.stop_timeout:g} s after [cassandra] "
                    "stop_command has ended well; is it the right command, and does nothing start "
                    "Cassandra again?"
                )
            time.sleep(_LOOK_EVERY)

    def _bring_up(self, context: TaskContext, exchange: Exchange) -> RingMember:
        """Return the node once it serves clients in normal operation, started if need be."""
        deadline = time.monotonic() + self._process.start_timeout
        if self._runs() and self._mode() in ("DRAINING", "DRAINED"):
            self._stop_command(context)
        if not self._runs():
            LOG.warning("starting Cassandra after a restore")
            # A starting node serves clients by itself, once it knows the other nodes.
            exchange.mark(_QUIET, False)
            self._process.start(context.raise_if_cancelled)
        while True:
            context.raise_if_cancelled()
            mode = self._mode()
            problem = f"the node is {mode}" if mode else "its node control does not answer"
            try:
                if mode == "NORMAL" and exchange.marked(_QUIET):
                    self._node.control.enable_clients()
                if mode == "NORMAL" and self._process.serves_clients():
                    self._node.forget_connection()
                    return self._node.member()
            except CassandraUnavailable as error:
                problem = str(error)
            except AccessDenied as error:
                raise AccessDenied(
                    f"{error}. Cassandra runs; if its roles were restored, [cassandra] username "
                    "must be one of the backup's"
                ) from None
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"Cassandra does not serve clients {self._process.start_timeout:g} s after "
                    f"its start ([cassandra] start_timeout): {problem}. Its log (system.log) has "
                    "the reason"
                )
            time.sleep(_LOOK_EVERY)

    def _mode(self) -> str:
        """Return the operation mode, empty if it cannot be asked for."""
        try:
            return self._node.control.operation_mode()
        except CassandraUnavailable:
            return ""


def _tables(task: Rehearse | Place | BuildIndexes) -> list[TableDescription]:
    return [table.description() for table in task.tables]


def _is_ready(index: IndexDescription, cql: CqlConnection) -> bool:
    return cql.is_index_ready(index)


def _others(known: KnownNode) -> list[str]:
    """Return the other directories whose files belong to the tables' original content."""
    directories = (
        known.saved_caches_directory,
        known.hints_directory,
        known.commitlog_directory,
    )
    return [directory for directory in directories if directory]


def _wanted(staging: Staging, sources: Sequence[str]) -> Staged:
    """Return what is expected of these node backups; empty after a download of an old release."""
    expected = Ledger(staging).expected() or {}
    return {key: found for key, found in expected.items() if key[0] in sources}


def _require_complete(
    table: TableDescription, placed: int, sources: Sequence[str], wanted: Staged
) -> None:
    expected = sum(len(wanted.get((source, table.name), {})) for source in sources)
    if wanted and placed != expected:
        raise StagedFilesLost(
            f"{placed} of {expected} SSTables of {table.name} are in place: something removed or "
            "added files during the exchange. Repeat the restore"
        )


def _few(tokens: Sequence[int]) -> str:
    shown = ", ".join(map(str, sorted(tokens)[:3]))
    return f"{shown}, ... ({len(tokens)})" if len(tokens) > 3 else shown
