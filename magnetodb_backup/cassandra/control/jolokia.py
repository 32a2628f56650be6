# SPDX-License-Identifier: Apache-2.0
"""Node control by a Jolokia agent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from oslo_config import cfg

from magnetodb_backup.cassandra.control.jolokia_agent import JolokiaAgent, LongWaits
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    UnknownTable,
)

_TAKE = "takeSnapshot(java.lang.String,java.util.Map,[Ljava.lang.String;)"
_CLEAR = "clearSnapshot(java.lang.String,[Ljava.lang.String;)"
_FLUSH = "forceKeyspaceFlush(java.lang.String,[Ljava.lang.String;)"
_COMPACTION_STATUS = "getAutoCompactionStatus(java.lang.String,[Ljava.lang.String;)"
_NO_COMPACTION = "disableAutoCompaction(java.lang.String,[Ljava.lang.String;)"
_HINTS = "org.apache.cassandra.hints:type=HintsService"
# Reset level, clear repaired, verify SSTables, verify tokens, invalidate caches, verify all values,
# copy instead of move.
_IMPORT = f"importNewSSTables(java.util.Set{',boolean' * 7})"
_IMPORT_OPTIONS = [True, True, True, False, True, False, False]
_REPAIR = "repairAsync(java.lang.String,java.util.Map)"
_STATUS = "getParentRepairStatus(int)"
_BATCHES = "org.apache.cassandra.db:type=BatchlogManager"
_REBUILD = "rebuildSecondaryIndex(java.lang.String,java.lang.String,[Ljava.lang.String;)"
# A repair's status appears after a while, and is lost by a restart.
_STATUS_APPEARS = 60.0  # seconds
_WAITS = LongWaits()


def from_conf(conf: cfg.ConfigOpts) -> JolokiaControl:
    """Make the control that group ``[jolokia]`` describes."""
    options = conf.jolokia
    return JolokiaControl(
        options.url,
        username=options.username or "",
        password=options.password or "",
        tls=TlsFiles.from_options(options),
        timeout=options.timeout,
        waits=LongWaits(options.repair_timeout),
    )


class JolokiaControl:
    """Commands by the agent's operations; ``timeout`` in seconds for one request."""

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        tls: TlsFiles | None = None,
        timeout: float = 600.0,
        waits: LongWaits = _WAITS,
    ) -> None:
        self._waits = waits
        self._agent = JolokiaAgent(
            url,
            username=username,
            password=password,
            tls=tls or TlsFiles(),
            timeout=timeout,
            waits=waits,
        )

    def host_id(self) -> str:
        """Return the attribute LocalHostId."""
        return str(self._agent.read("LocalHostId"))

    def operation_mode(self) -> str:
        """Return the attribute OperationMode."""
        return str(self._agent.read("OperationMode"))

    def unsettled_nodes(self) -> Mapping[str, str]:
        """Return those of the attributes JoiningNodes, LeavingNodes and MovingNodes."""
        return {
            str(address): state
            for state in ("joining", "leaving", "moving")
            for address in self._agent.read(f"{state.capitalize()}Nodes") or ()
        }

    def flush(self, tables: Sequence[TableName]) -> None:
        """Flush, keyspace by keyspace."""
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            self._agent.execute(_FLUSH, [keyspace, [t.table for t in group]])

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        """Snapshot all tables by one request."""
        options = {"ttl": f"{ttl_seconds}s"} if ttl_seconds else {}
        names = [f"{t.keyspace}.{t.table}" for t in sorted(tables)]
        self._agent.execute(_TAKE, [tag, options, names])

    def clear_snapshot(self, tag: str) -> None:
        """Clear the tag in all keyspaces."""
        self._agent.execute(_CLEAR, [tag, []])

    def import_sstables(
        self,
        table: TableName,
        directories: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        """Import all directories by one request."""
        if not directories:
            return
        mbean = f"org.apache.cassandra.db:type=Tables,keyspace={table.keyspace},table={table.table}"
        self.operation_mode()  # raises while Cassandra starts: then no table is known yet
        refused = self._agent.execute_long(
            _IMPORT,
            [list(directories), *_IMPORT_OPTIONS],
            still=f"the import into {table} still runs",
            mbean=mbean,
            missing=UnknownTable(f"Cassandra has no table {table}"),
            raise_if_cancelled=raise_if_cancelled,
        )
        if refused:
            raise SSTableRefused(
                f"Cassandra refuses SSTables of {', '.join(map(str, refused))} for {table}; its "
                "log (system.log) has the reason"
            )

    def repair(
        self,
        keyspace: str,
        tables: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
        *,
        primary_ranges: bool = False,
    ) -> None:
        """Start the repair, and poll its status until it is done.

        An agent that does not answer for a while is polled again: the repair continues.
        """
        options = {
            "incremental": "false",
            "primaryRange": str(primary_ranges).lower(),
            "parallelism": "parallel",
            "columnFamilies": ",".join(tables),
            # Ranges with one live replica in the ring have nothing to repair and are no failure.
            "ignoreUnreplicatedKeyspaces": "true",
        }
        number = self._agent.execute(_REPAIR, [keyspace, options])
        if number:  # a single replica has nothing to repair
            self._await_repair(keyspace, number, raise_if_cancelled)

    def _await_repair(
        self, keyspace: str, number: int, raise_if_cancelled: Callable[[], None]
    ) -> None:
        started = answered = time.monotonic()
        seen = False
        while True:
            raise_if_cancelled()
            try:
                status = self._agent.execute(_STATUS, [number])
            except CassandraUnavailable:
                if time.monotonic() - answered > self._waits.silence:
                    raise
                time.sleep(self._waits.poll)
                continue
            answered = time.monotonic()
            if status and status[0] == "COMPLETED":
                return
            if status and status[0] == "FAILED":
                reason = " ".join(str(x) for x in status[1:])[:500]
                raise CommandFailed(f"the repair of {keyspace} failed: {reason}")
            took = time.monotonic() - started
            if not status and (seen or took > _STATUS_APPEARS):
                raise CassandraUnavailable(
                    f"Cassandra at {self._agent.at} does not know the repair of {keyspace} any "
                    "more; was it restarted?"
                )
            if took > self._waits.timeout:
                raise CommandFailed(
                    f"the repair of {keyspace} still runs after {self._waits.timeout:g} s "
                    "([jolokia] repair_timeout)"
                )
            seen = bool(status)
            time.sleep(self._waits.poll)

    def autocompaction_off(self, tables: Sequence[TableName]) -> list[TableName]:
        """Ask for the status, keyspace by keyspace."""
        found = []
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            names = [t.table for t in group]
            disabled = self._agent.execute(_COMPACTION_STATUS, [keyspace, names]) or {}
            found += [TableName(keyspace, name) for name in names if disabled.get(name)]
        return found

    def disable_autocompaction(self, tables: Sequence[TableName]) -> None:
        """Disable it, keyspace by keyspace."""
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            self._agent.execute(_NO_COMPACTION, [keyspace, [t.table for t in group]])

    def drain(self) -> None:
        """Drain."""
        self._agent.execute("drain()", [])

    def truncate_hints(self) -> None:
        """Delete all hints."""
        self._agent.execute("deleteAllHints()", [], mbean=_HINTS)

    def listens(self) -> bool:
        """Connect to the agent's port."""
        return self._agent.listens()

    def disable_clients(self) -> None:
        """Stop the native transport."""
        self._agent.execute("stopNativeTransport()", [])

    def enable_clients(self) -> None:
        """Start the native transport."""
        self._agent.execute("startNativeTransport()", [])

    def replay_batches(self) -> None:
        """Replay the batch log."""
        self._agent.execute("forceBatchlogReplay()", [], mbean=_BATCHES)

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        """Rebuild the indexes by one request."""
        if not indexes:
            return
        self._agent.execute_long(
            _REBUILD,
            [table.keyspace, table.table, list(indexes)],
            still=f"the indexes of {table} are still being built",
        )

    def close(self) -> None:
        """Close the connection."""
        self._agent.close()
