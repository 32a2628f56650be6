# SPDX-License-Identifier: Apache-2.0
"""Node control by nodetool: an argument list, never a shell; the password only by file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from itertools import groupby

from oslo_config import cfg

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import AccessDenied, CassandraUnavailable, CommandFailed

# Linux allows 128 KiB for one argument.
_LONGEST_ARGUMENT = 100_000
_REFUSED = re.compile(
    r"Connection refused|ConnectException|NoRouteToHost|timed out|No such object", re.I
)
_DENIED = re.compile(
    r"SecurityException|Authentication failed|Credentials required|access denied|LoginException",
    re.I,
)


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
    )


class NodetoolControl:
    """Runs nodetool; ``timeout`` in seconds for one run."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: str,
        port: int,
        username: str = "",
        password_file: str = "",
        timeout: float = 600.0,
    ) -> None:
        self._prefix = [*command, "-h", host, "-p", str(port)]
        if username:
            self._prefix += ["-u", username]
        if password_file:
            self._prefix += ["-pwf", password_file]
        self._where, self._timeout = f"{host}:{port}", timeout

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
            self._run("snapshot", "-t", tag, "-sf", *ttl, "-kt", names)

    def clear_snapshot(self, tag: str) -> None:
        """Clear the tag in all keyspaces."""
        self._run("clearsnapshot", "-t", tag)

    def close(self) -> None:
        """There is nothing to close."""

    def _run(self, *arguments: str) -> str:
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
        try:
            out, err = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise CassandraUnavailable(
                f"nodetool {arguments[0]} took longer than {self._timeout:g} s ([nodetool] timeout)"
            ) from None
        if process.returncode == 0:
            return out
        raise self._failure(arguments[0], f"{out}\n{err}")

    def _failure(self, command: str, output: str) -> Exception:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        told = [x for x in lines if not x.startswith(("at ", "-- StackTrace", "See 'nodetool"))]
        text = " ".join(told)[:500] or "no output"
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
        return CommandFailed(f"nodetool {command}: {text}")


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
