# SPDX-License-Identifier: Apache-2.0
"""Streams SSTables to the owners of their rows by Cassandra's sstableloader.

It takes passwords only as arguments, which everybody on the machine can read; where the cluster
wants some, ``[sstableloader] command`` has to be a script that adds them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from oslo_config import cfg

from magnetodb_backup.errors import (
    AccessDenied,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    StreamFailed,
    UnknownTable,
)

_LOOK_EVERY = 0.5
_KEPT = 400  # lines of output
_SIGNALLED = 128  # a shell, or Java, ends with more by the signal's number
# A plain number, or one with a unit since 4.1: 5.339KiB.
_BYTES = re.compile(r"^\s*Total bytes transferred\s*:\s*(\d+(?:\.\d+)?) ?([KMGT]?)", re.M)
# sstableloader skips SSTables that it cannot open, and reports success.
_SKIPPED = re.compile(r"Skipping file (?P<sstable>[a-z]{2}-[0-9a-z_]+-[a-z]+)?(?P<rest>.*)$", re.M)
_NO_TABLE = re.compile(r"table (\S+) doesn't exist")
_NO_KEYSPACE = re.compile(r"[Kk]eyspace \S+ (does not|doesn't) exist|Unknown keyspace", re.I)
_DENIED = re.compile(r"AuthenticationException|UnauthorizedException|Authentication error", re.I)
_MALFORMED = re.compile(r"CorruptSSTableException|CorruptBlockException|MalformedInput", re.I)
# A node rejects the stream, without a reason; a node that stops looks the same.
_NOT_TAKEN = re.compile(r"failed stream session", re.I)
_UNREACHABLE = re.compile(
    r"NoHostAvailableException|Connection ?(refused|reset)|failed to connect|timed out"
    r"|ConnectException|ClosedChannelException|UnknownHostException|NoRouteToHostException"
    r"|Streaming to the following hosts failed",
    re.I,
)
_MEANINGS = (
    _BYTES, _SKIPPED, _NO_TABLE, _NO_KEYSPACE, _DENIED, _MALFORMED, _NOT_TAKEN, _UNREACHABLE,
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """The bytes sent by a run, and the reason for each skipped SSTable (``nb-1-big``)."""

    bytes_sent: int
    skipped: Mapping[str, str]


def from_conf(conf: cfg.ConfigOpts) -> BulkLoader:
    """Make the loader that group ``[sstableloader]`` describes."""
    options = conf.sstableloader
    return BulkLoader(
        options.command,
        native_port=conf.cassandra.native_port,
        timeout=options.timeout,
        connections_per_host=options.connections_per_host,
    )


class BulkLoader:
    """Runs sstableloader; ``timeout`` in seconds for one directory."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        native_port: int,
        timeout: float,
        connections_per_host: int | None = None,
    ) -> None:
        self._command = list(command)
        self._options = ["-p", str(native_port)]
        if connections_per_host:
            self._options += ["-cph", str(connections_per_host)]
        self._timeout = timeout

    def load(
        self, directory: str, contacts: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> Loaded:
        """Send all SSTables of ``…/<keyspace>/<table>`` except for unreadable ones.

        Can be repeated: existing rows do not change.

        :raises SSTableRefused: if an SSTable cannot be read; others may not have been sent.
        :raises StreamFailed: if nodes do not accept the SSTables. Only their logs have the reason,
            for example a storage-attached index of the table.
        :raises CassandraUnavailable: if the ring or one of its nodes cannot be reached.
        :raises CommandFailed: if sstableloader does not accept its arguments, or fails.
        """
        code, output = self._run(
            [*self._command, "-d", ",".join(contacts), *self._options, directory],
            raise_if_cancelled,
        )
        if missing := _NO_TABLE.search(output):
            raise UnknownTable(f"sstableloader: Cassandra has no table {missing[1]}")
        if code:
            raise _failure(code, output, directory, contacts)
        skipped = {}
        for found in _SKIPPED.finditer(output):
            if not found["sstable"]:
                raise SSTableRefused(f"sstableloader: {found[0].strip()} (in {directory})")
            skipped[found["sstable"]] = f"sstableloader: {found[0].strip()[:500]}"
        sent = _BYTES.search(output)
        size = int(float(sent[1]) * 1024 ** " KMGT".index(sent[2] or " ")) if sent else 0
        return Loaded(size, skipped)

    def _run(self, argv: list[str], raise_if_cancelled: Callable[[], None]) -> tuple[int, str]:
        raise_if_cancelled()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,  # turns each progress report, which ends with CR, into a line
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(
                f"{argv[0]} cannot be run ({error.strerror}); set [sstableloader] command"
            ) from None
        assert process.stdout is not None
        output = _Output()
        reader = threading.Thread(target=output.collect, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            self._wait(process, raise_if_cancelled)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            reader.join()
            process.stdout.close()
        return process.returncode, output.text()

    def _wait(self, process: subprocess.Popen[str], raise_if_cancelled: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                process.wait(_LOOK_EVERY)
            except subprocess.TimeoutExpired:
                raise_if_cancelled()
            else:
                return
            if time.monotonic() > deadline:
                raise CassandraUnavailable(
                    f"sstableloader took longer than {self._timeout:g} s ([sstableloader] timeout)"
                )


class _Output:
    """The output without progress reports, of which there are many.

    The middle of a long output is dropped, except for the lines that have a meaning here.
    """

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=_KEPT // 2)

    def collect(self, stream: IO[str]) -> None:
        for line in stream:
            if not line.strip() or line.startswith("progress:"):
                continue
            if len(self._head) < _KEPT // 2:
                self._head.append(line.rstrip())
                continue
            if len(self._tail) == self._tail.maxlen and _has_meaning(self._tail[0]):
                self._head.append(self._tail[0])
            self._tail.append(line.rstrip())

    def text(self) -> str:
        return "\n".join([*self._head, *self._tail])


def _has_meaning(line: str) -> bool:
    return any(pattern.search(line) for pattern in _MEANINGS)


def _failure(code: int, output: str, directory: str, contacts: Sequence[str]) -> Exception:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    printed = [x for x in lines if not re.match(r"at \S|\.\.\. \d+ more|WARN |INFO |Caused by", x)]
    text = " ".join(dict.fromkeys(printed))[-800:] or "no output"
    if _DENIED.search(output):
        return AccessDenied(
            "the ring refuses sstableloader; set [sstableloader] command to a script that adds "
            f"the credentials: {text}"
        )
    if _NO_KEYSPACE.search(output):
        return UnknownTable(f"sstableloader: {text}")
    if _MALFORMED.search(output):
        return SSTableRefused(f"sstableloader cannot read an SSTable in {directory}: {text}")
    if _NOT_TAKEN.search(output):
        return StreamFailed(
            f"nodes did not accept the SSTables of {directory}; their logs have the reason: {text}"
        )
    if _UNREACHABLE.search(output):
        return CassandraUnavailable(f"sstableloader to {', '.join(contacts)} failed: {text}")
    if code < 0 or code > _SIGNALLED:
        number = -code if code < 0 else code - _SIGNALLED
        return CassandraUnavailable(f"sstableloader was killed by signal {number}: {text}")
    return CommandFailed(
        f"sstableloader ended with {code}; see [sstableloader] command, and the memory that it "
        f"gives to Java: {text}"
    )
