# SPDX-License-Identifier: Apache-2.0
"""Node control by nodetool: an argument list without a shell; the password only in a file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from oslo_config import cfg

from magnetodb_backup.cassandra.control.service_commands import takes_connections
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    UnknownTable,
)

# Linux allows 128 KiB for one argument.
_LONGEST_ARGUMENT = 100_000
_LOOK_EVERY = 1.0  # seconds between two checks while waiting
_REFUSED = re.compile(
    r"Connection refused|ConnectException|NoRouteToHost|timed out|No such object|"
    r"is not initialized yet",
    re.I,
)
_DENIED = re.compile(
    r"SecurityException|Authentication failed|Credentials required|access denied|LoginException",
    re.I,
)
_UNKNOWN_TABLE = re.compile(r"Unknown (keyspace|table)|couldn't find that bean|not found", re.I)
# UJ  127.0.0.4  75.2 KiB  16  …: up or down, then the state.
_UNSETTLED = {"J": "joining", "L": "leaving", "M": "moving"}
_STATE = re.compile(r"^[UD?]([JLM])\s+(\S+)", re.M)
_IMPORT_REFUSED = re.compile(r"^Some directories failed to import[^\n]*\n(.*)", re.M | re.S)

_NOT_RUNNING = re.compile(r"^\S+\s+\S+\s+not running\s*$")


def from_conf(conf: cfg.ConfigOpts) -> NodetoolControl:
    """Make the control that group ``[nodetool]`` describes."""
    options = conf.nodetool
    return NodetoolControl(
        options.command,
        host=options.host,
        port=options.port,
        username=options.username or "",
        password_file=options.password_file or "",
        timeout=options.timeout,
        repair_timeout=options.repair_timeout,
    )


class NodetoolControl:
    """Runs nodetool; ``timeout`` in seconds for one run, ``repair_timeout`` for long ones.

    Those are imports, repairs, and builds of indexes.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: str,
        port: int,
        username: str = "",
        password_file: str = "",
        timeout: float = 600.0,
        repair_timeout: float = 86_400.0,
    ) -> None:
        self._prefix = [*command, "-h", host, "-p", str(port)]
        if username:
            self._prefix += ["-u", username]
        if password_file:
            self._prefix += ["-pwf", password_file]
        self._host, self._port, self._where = host, port, f"{host}:{port}"
        self._timeout, self._repair_timeout = timeout, repair_timeout

    def host_id(self) -> str:
        """Return the host ID that ``nodetool info`` prints."""
        found = re.search(r"^ID\s*:\s*([0-9a-f-]{36})\s*$", self._run("info"), re.M)
        if found is None:
            raise CommandFailed("nodetool info prints no ID; is this Cassandra 4.0 or later?")
        return found[1]

    def operation_mode(self) -> str:
        """Return the mode that ``nodetool netstats`` prints."""
        found = re.search(r"^Mode: (\w+)", self._run("netstats"), re.M)
        if found is None:
            raise CommandFailed("nodetool netstats prints no Mode")
        return found[1]

    def unsettled_nodes(self) -> Mapping[str, str]:
        """Return those that ``nodetool status`` marks with J, L or M."""
        found = _STATE.findall(self._run("status"))
        return {address: _UNSETTLED[state] for state, address in found}

    def flush(self, tables: Sequence[TableName]) -> None:
        """Flush, keyspace by keyspace."""
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            self._run("flush", "--", keyspace, *(t.table for t in group))

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        """Snapshot all tables by one command, unless their names do not fit into one."""
        for names in _chunks([f"{t.keyspace}.{t.table}" for t in sorted(tables)]):
            ttl = ["--ttl", f"{ttl_seconds}s"] if ttl_seconds else []
            self._run("snapshot", "-t", tag, *ttl, "-kt", names)

    def clear_snapshot(self, tag: str) -> None:
        """Clear the tag in all keyspaces."""
        self._run("clearsnapshot", "-t", tag)

    def import_sstables(
        self,
        table: TableName,
        directories: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        """Import all directories by one command."""
        if not directories:
            return
        names = [table.keyspace, table.table, *directories]
        command = ["import", "--no-tokens", "--", *names]
        still = f"the import into {table} still runs"
        code, output = self._call_long(command, still, raise_if_cancelled)
        if code == 0:
            return
        if refused := _IMPORT_REFUSED.search(output):
            which = ", ".join(x.strip() for x in refused[1].splitlines() if x.strip() in names)
            raise SSTableRefused(
                f"Cassandra refuses SSTables of {which or 'unnamed directories'} for {table}; its "
                "log (system.log) has the reason"
            )
        if _UNKNOWN_TABLE.search(output):
            raise UnknownTable(f"Cassandra has no table {table}")
        raise self._failure("import", output)

    def repair(
        self,
        keyspace: str,
        tables: Sequence[str],
        raise_if_cancelled: Callable[[], None] = lambda: None,
        *,
        primary_ranges: bool = False,
    ) -> None:
        """Repair the tables by one command."""
        options = ["--full", "--ignore-unreplicated-keyspaces"]
        if primary_ranges:
            options.append("--partitioner-range")
        command = ["repair", *options, "--", keyspace, *tables]
        still = f"the repair of {keyspace} still runs"
        code, output = self._call_long(command, still, raise_if_cancelled)
        # After the begin of a repair "timed out" is a failure of a replica, not of JMX.
        if code and re.search(r"repair (command|job)", output, re.I):
            raise CommandFailed(f"nodetool repair of {keyspace}: {_summary(output)}")
        if code:
            raise self._failure("repair", output)

    def autocompaction_off(self, tables: Sequence[TableName]) -> list[TableName]:
        """Read the table that ``nodetool statusautocompaction -a`` prints."""
        found = []
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            names = [t.table for t in group]
            output = self._run("statusautocompaction", "-a", "--", keyspace, *names)
            off = {line.split()[1] for line in output.splitlines() if _NOT_RUNNING.search(line)}
            found += [TableName(keyspace, name) for name in names if name in off]
        return found

    def disable_autocompaction(self, tables: Sequence[TableName]) -> None:
        """Disable it, keyspace by keyspace."""
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            self._run("disableautocompaction", "--", keyspace, *(t.table for t in group))

    def drain(self) -> None:
        """Drain."""
        self._run("drain")

    def truncate_hints(self) -> None:
        """Truncate all hints."""
        self._run("truncatehints")

    def listens(self) -> bool:
        """Connect to the JMX port, which is faster than nodetool."""
        return takes_connections(self._host, self._port)

    def disable_clients(self) -> None:
        """Stop the native transport."""
        self._run("disablebinary")

    def enable_clients(self) -> None:
        """Start the native transport."""
        self._run("enablebinary")

    def replay_batches(self) -> None:
        """Replay the batch log."""
        self._run("replaybatchlog")

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        """Rebuild the indexes by one command."""
        if not indexes:
            return
        command = ["rebuild_index", "--", table.keyspace, table.table, *indexes]
        code, output = self._call_long(command, f"the indexes of {table} are still being built")
        if code:
            raise self._failure("rebuild_index", output)

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _run(self, *arguments: str) -> str:
        code, output = self._call(arguments, self._timeout)
        if code:
            raise self._failure(arguments[0], output)
        return output

    def _call_long(
        self,
        arguments: Sequence[str],
        still: str,
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> tuple[int, str]:
        """Run what takes its time in Cassandra; ``still`` says what runs if it takes too long."""
        try:
            return self._call(arguments, self._repair_timeout, raise_if_cancelled)
        except CassandraUnavailable:
            raise CommandFailed(
                f"{still} after {self._repair_timeout:g} s ([nodetool] repair_timeout)"
            ) from None

    def _call(
        self,
        arguments: Sequence[str],
        timeout: float,
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> tuple[int, str]:
        """Return the exit code and all output; kill nodetool if ``raise_if_cancelled`` raises."""
        command = [*self._prefix, *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(
                f"{self._prefix[0]} cannot be run ({error.strerror}); set [nodetool] command"
            ) from None
        deadline = time.monotonic() + timeout
        try:
            while True:
                try:
                    left = deadline - time.monotonic()
                    out, err = process.communicate(timeout=max(min(left, _LOOK_EVERY), 0))
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() >= deadline:
                        raise CassandraUnavailable(
                            f"nodetool {arguments[0]} took longer than {timeout:g} s ([nodetool] "
                            "timeout)"
                        ) from None
                raise_if_cancelled()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return process.returncode, f"{out}\n{err}"

    def _failure(self, command: str, output: str) -> Exception:
        if _DENIED.search(output):
            return AccessDenied(
                f"JMX at {self._where} refuses nodetool {command}; check [nodetool] username and "
                "password_file"
            )
        if _REFUSED.search(output):
            return CassandraUnavailable(
                f"nodetool {command} does not reach JMX at {self._where}; is Cassandra running, "
                "and are [nodetool] host and port right?"
            )
        return CommandFailed(f"nodetool {command}: {_summary(output)}")


def _summary(output: str) -> str:
    """Return the output without stack traces, on one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    printed = [x for x in lines if not x.startswith(("at ", "-- StackTrace", "See 'nodetool"))]
    return " ".join(printed)[:500] or "no output"


def _chunks(names: Sequence[str]) -> Iterator[str]:
    chunk: list[str] = []
    length = 0
    for name in names:
        if chunk and length + len(name) + 1 > _LONGEST_ARGUMENT:
            yield ",".join(chunk)
            chunk, length = [], 0
        chunk.append(name)
        length += len(name) + 1
    if chunk:
        yield ",".join(chunk)
