# SPDX-License-Identifier: Apache-2.0
"""The tasks of an offline restore: stop Cassandra, exchange its files, start it again.

All may be repeated, by a new process too, and work without Cassandra.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from magnetodb_backup.cassandra.files.exchange import (
    Exchange,
    exchange_problems,
    unfinished_exchanges,
)
from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.cassandra.files.staging import Staging
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.tables import IndexDescription, TableDescription, TableName
from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    CommandFailed,
    WrongNode,
)
from magnetodb_backup.tasks.kinds import TaskKind
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.remembered import KnownNode
from magnetodb_backup.worker.restore.build_and_repair import wait_until_built
from magnetodb_backup.worker.tasks import Handler, TaskContext

LOG = logging.getLogger(__name__)
_LOOK_EVERY = 0.5  # seconds
# Marks of what happened to the node: it takes no clients; nothing is left to replay; it did not
# run before the restore; it may have seen the restored files.
_QUIET, _DRAINED, _WAS_DOWN, _STARTED = "quiet", "drained", "was down", "started"


class Process(Protocol):
    """Cassandra's process; time-outs in seconds."""

    @property
    def stop_timeout(self) -> float: ...
    @property
    def start_timeout(self) -> float: ...
    def problems(self) -> list[str]: ...
    def serves_clients(self) -> bool: ...
    def stop(self, check_cancelled: Callable[[], None]) -> None: ...
    def start(self, check_cancelled: Callable[[], None]) -> None: ...


class OfflineWork:
    """Works on the stopped node."""

    def __init__(self, node: LocalNode, process: Process) -> None:
        self._node, self._process = node, process

    def handlers(self) -> Mapping[TaskKind, Handler]:
        """Return what does each kind of task."""
        return {
            TaskKind.RESTORE_READY: self._ready,
            TaskKind.RESTORE_QUIESCE: self._quiesce,
            TaskKind.RESTORE_STOP: self._stop,
            TaskKind.RESTORE_PLACE: self._place,
            TaskKind.RESTORE_START: self._start,
            TaskKind.RESTORE_INDEXES: self._indexes,
            TaskKind.RESTORE_PUT_BACK: self._put_back,
            TaskKind.RESTORE_DISCARD: self._discard,
        }

    # The tasks.

    def _ready(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Say what would keep this node from being restored; change nothing."""
        known = self._node.known()
        problems = self._process.problems()
        problems += exchange_problems(known.data_directories, _tables(arguments), _others(known))
        if self._process.serves_clients():
            mode = self._node.control.operation_mode()
            if mode != "NORMAL":
                problems.append(f"the node is {mode}, not NORMAL; wait until it has joined")
        left = unfinished_exchanges(known.data_directories)
        free = [space.free for space in SnapshotTree(known.data_directories).space()]
        return {"problems": problems, "free": free, "left": left}

    def _quiesce(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Take no more writes, and finish those that have begun, while the other nodes run."""
        if self._runs() and self._node.control.operation_mode() == "NORMAL":
            aside = self._aside(arguments)
            aside.prepare()
            aside.mark(_QUIET)
            self._node.control.disable_clients()
            self._node.control.replay_batches()
        return {}

    def _stop(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Stop Cassandra so that it has nothing to replay at its next start.

        :raises CommandFailed: if it does not stop, or was stopped without having been drained and
            there is something that its start would replay.
        """
        aside = self._aside(arguments)
        aside.prepare()
        if self._runs():
            self._drain_and_stop(aside, context)
        elif not aside.marked(_DRAINED):
            if not arguments["everything"] and not arguments["single"]:
                raise CommandFailed(
                    "Cassandra does not run, and was not drained: its commit log may have newer "
                    "writes than the backup, which its start would put on top of the restored "
                    "rows; start it, then restore again"
                )
            aside.mark(_WAS_DOWN)
        return {"drained": aside.marked(_DRAINED)}

    def _drain_and_stop(self, aside: Exchange, context: TaskContext) -> None:
        control = self._node.control
        aside.mark(_DRAINED, False)
        if control.operation_mode() != "DRAINED":
            # Hints for other nodes are newer writes; so are those that come meanwhile.
            control.truncate_hints()
            context.check()
            control.drain()
        aside.mark(_DRAINED)
        self._stop_command(context)
        aside.mark(_QUIET, False)

    def _place(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Put the restored files in the place of the old ones, which are moved aside."""
        aside, known = self._aside(arguments), self._node_as_it_was()
        if aside.marked(_STARTED):
            return {}  # by an attempt whose end nobody heard of
        self._require_stopped()
        staging = Staging(known.data_directories, str(arguments["restore_id"]))
        staged: dict[TableName, dict[int, list[Path]]] = {}
        for source in arguments["sources"]:
            for number, name, path in staging.places(str(source)):
                staged.setdefault(name, {}).setdefault(number, []).append(path)
        sstables = 0
        for table in _tables(arguments):
            context.check()
            sstables += aside.exchange(table, staged.pop(table.name, {}))
        if staged:
            raise CommandFailed(f"files of {', '.join(map(str, staged))} are staged for no table")
        replays = not aside.marked(_DRAINED) and arguments["everything"]
        for directory in _others(known):
            # Caches know positions in the old files, and old counts; hints are newer writes.
            if directory != known.commitlog_directory or replays:
                aside.take_others(directory)
        return {"sstables": sstables}

    def _start(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Start Cassandra and prove that it is the node that was stopped.

        :raises WrongNode: if its host ID or its tokens are other ones.
        """
        aside = self._aside(arguments)
        aside.prepare()
        aside.mark(_STARTED)
        member = self._bring_up(context, aside)
        tokens = sorted(int(t) for t in arguments["tokens"])
        if member.host_id != arguments["host_id"] or sorted(member.tokens) != tokens:
            raise WrongNode(
                f"Cassandra at {member.address} has the host ID {member.host_id} and the tokens "
                f"{_few(member.tokens)}; before it was {arguments['host_id']} with "
                f"{_few(tokens)}. The keyspace system in its data directories is not what it was"
            )
        return {"member": member.as_json()}

    def _indexes(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Build the secondary indexes anew that Cassandra does not build by itself."""
        tables = [t.name for t in _tables(arguments)]
        indexes = self._node.cql().indexes(tables)
        for table in tables:
            context.check()
            names = [i.name for i in indexes if i.table == table and not i.is_with_sstables]
            if names:
                self._node.control.rebuild_indexes(table, names)
        building = {
            f"index {TableName(i.table.keyspace, i.name)}": partial(self._is_ready, i)
            for i in indexes
            if i.is_attached
        }
        wait_until_built(building, float(arguments["seconds"]), "rebuild_index", context)
        return {"indexes": [[i.table.keyspace, i.name] for i in indexes]}

    def _is_ready(self, index: IndexDescription) -> bool:
        return self._node.cql().is_index_ready(index)

    def _put_back(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """After a failure: undo the exchange if asked and possible, and start Cassandra.

        A node that did not run before the restore is left so, once its files are as they were.
        """
        aside, back = self._aside(arguments), False
        was_down = bool(arguments["down"]) or aside.marked(_WAS_DOWN)
        if arguments["files"] and not aside.marked(_STARTED):
            if aside.touched:
                self._require_stopped()
                tables = aside.put_back()
                LOG.warning("the old files of %d directories are back in place", tables)
            back = True
        if not (back and was_down):
            self._bring_up(context, aside)
        if back:
            aside.remove()
        return {"put_back": back}

    def _discard(self, arguments: Mapping[str, Any], context: TaskContext) -> Mapping[str, Any]:
        """Remove the old files: the restore has succeeded."""
        self._aside(arguments).remove()
        return {}

    # Parts.

    def _node_as_it_was(self) -> KnownNode:
        """Return the node without asking it if possible: it may be stopped, or just starting."""
        return self._node.remembered() or self._node.known()

    def _aside(self, arguments: Mapping[str, Any]) -> Exchange:
        known = self._node_as_it_was()
        return Exchange(known.data_directories, str(arguments["restore_id"]), _others(known))

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
        self._process.stop(context.check)
        self._node.forget_connection()
        deadline = time.monotonic() + self._process.stop_timeout
        while self._runs():
            context.check()
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"Cassandra still listens {self._process.stop_timeout:g} s after [cassandra] "
                    "stop_command has ended well; is it the right command, and does nothing start "
                    "Cassandra again?"
                )
            time.sleep(_LOOK_EVERY)

    def _bring_up(self, context: TaskContext, aside: Exchange) -> RingMember:
        """Return the node once it serves clients in normal operation, started if need be."""
        deadline = time.monotonic() + self._process.start_timeout
        if self._runs() and self._mode() in ("DRAINING", "DRAINED"):
            self._stop_command(context)
        if not self._runs():
            LOG.warning("starting Cassandra after a restore")
            # One that starts must not be told to serve clients: it waits until it knows the others.
            aside.mark(_QUIET, False)
            self._process.start(context.check)
        while True:
            context.check()
            mode = self._mode()
            problem = f"the node is {mode}" if mode else "its node control does not answer"
            try:
                if mode == "NORMAL" and aside.marked(_QUIET):
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
                    f"its start ([cassandra] start_timeout): {problem}. Its log (system.log) tells "
                    "why"
                )
            time.sleep(_LOOK_EVERY)

    def _mode(self) -> str:
        """Return the operation mode, empty if it cannot be asked for."""
        try:
            return self._node.control.operation_mode()
        except CassandraUnavailable:
            return ""


def _tables(arguments: Mapping[str, Any]) -> list[TableDescription]:
    return [TableDescription.from_json(t) for t in arguments["tables"]]


def _others(known: KnownNode) -> list[str]:
    """Return where files lie that tell of the tables' old content."""
    directories = (
        known.saved_caches_directory,
        known.hints_directory,
        known.commitlog_directory,
    )
    return [directory for directory in directories if directory]


def _few(tokens: Sequence[int]) -> str:
    shown = ", ".join(map(str, sorted(tokens)[:3]))
    return f"{shown}, ... ({len(tokens)})" if len(tokens) > 3 else shown
