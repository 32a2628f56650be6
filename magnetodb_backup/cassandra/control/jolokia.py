# SPDX-License-Identifier: Apache-2.0
"""Node control by a Jolokia agent: JMX over one persistent HTTP connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

import requests
from oslo_config import cfg

from magnetodb_backup.cassandra.control.service_commands import takes_connections
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    UnknownTable,
)

_STORAGE_SERVICE = "org.apache.cassandra.db:type=StorageService"
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


def from_conf(conf: cfg.ConfigOpts) -> JolokiaControl:
    """Make the control that group ``[jolokia]`` describes."""
    options = conf.jolokia
    return JolokiaControl(
        options.url,
        username=options.username or "",
        password=options.password or "",
        tls=TlsFiles.from_options(options),
        timeout=options.timeout,
        repair=RepairWaits(options.repair_timeout),
    )


@dataclass(frozen=True)
class RepairWaits:
    """Times of waiting for long work in Cassandra, in seconds.

    A repair, an import or a build of indexes may take ``timeout``; a repair's status is requested
    every ``poll``. The waiting ends if the
    agent does not answer for ``silence``.
    """

    timeout: float = 86_400.0
    poll: float = 1.0
    silence: float = 60.0


_REPAIR_WAITS = RepairWaits()


class JolokiaControl:
    """Sends requests to the agent; ``timeout`` in seconds for one request."""

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        tls: TlsFiles | None = None,
        timeout: float = 600.0,
        repair: RepairWaits = _REPAIR_WAITS,
    ) -> None:
        self._url, self._timeout = url.rstrip("/") + "/", timeout
        self._repair = repair
        parts = urlsplit(self._url)  # messages must not contain a password
        self._at = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._session = requests.Session()
        self._session.trust_env = False
        if username:
            self._session.auth = (username, password)
        self._tls = tls or TlsFiles()
        if self._tls.ca:
            self._session.verify = self._tls.ca
        self._session.cert = self._tls.client()

    def host_id(self) -> str:
        """Return the attribute LocalHostId."""
        return str(self._read("LocalHostId"))

    def operation_mode(self) -> str:
        """Return the attribute OperationMode."""
        return str(self._read("OperationMode"))

    def unsettled_nodes(self) -> Mapping[str, str]:
        """Return those of the attributes JoiningNodes, LeavingNodes and MovingNodes."""
        return {
            str(address): state
            for state in ("joining", "leaving", "moving")
            for address in self._read(f"{state.capitalize()}Nodes") or ()
        }

    def flush(self, tables: Sequence[TableName]) -> None:
        """Flush, keyspace by keyspace."""
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            self._execute(_FLUSH, [keyspace, [t.table for t in group]])

    def take_snapshot(
        self, tag: str, tables: Sequence[TableName], *, ttl_seconds: int | None
    ) -> None:
        """Snapshot all tables by one request."""
        options = {"ttl": f"{ttl_seconds}s"} if ttl_seconds else {}
        names = [f"{t.keyspace}.{t.table}" for t in sorted(tables)]
        self._execute(_TAKE, [tag, options, names])

    def clear_snapshot(self, tag: str) -> None:
        """Clear the tag in all keyspaces."""
        self._execute(_CLEAR, [tag, []])

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
        refused = self._execute_long(
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
    ) -> None:
        """Start the repair, and poll its status until it is done.

        An agent that does not answer for a while is polled again: the repair continues.
        """
        options = {
            "incremental": "false",
            "primaryRange": "false",
            "parallelism": "parallel",
            "columnFamilies": ",".join(tables),
            # Ranges with one live replica in the ring have nothing to repair and are no failure.
            "ignoreUnreplicatedKeyspaces": "true",
        }
        number = self._execute(_REPAIR, [keyspace, options])
        if not number:  # a single replica has nothing to repair
            return
        started = answered = time.monotonic()
        seen = False
        while True:
            raise_if_cancelled()
            try:
                status = self._execute(_STATUS, [number])
            except CassandraUnavailable:
                if time.monotonic() - answered > self._repair.silence:
                    raise
                time.sleep(self._repair.poll)
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
                    f"Cassandra at {self._at} does not know the repair of {keyspace} any more; was "
                    "it restarted?"
                )
            if took > self._repair.timeout:
                raise CommandFailed(
                    f"the repair of {keyspace} still runs after {self._repair.timeout:g} s "
                    "([jolokia] repair_timeout)"
                )
            seen = bool(status)
            time.sleep(self._repair.poll)

    def autocompaction_off(self, tables: Sequence[TableName]) -> list[TableName]:
        """Ask for the status, keyspace by keyspace."""
        found = []
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            names = [t.table for t in group]
            disabled = self._execute(_COMPACTION_STATUS, [keyspace, names]) or {}
            found += [TableName(keyspace, name) for name in names if disabled.get(name)]
        return found

    def disable_autocompaction(self, tables: Sequence[TableName]) -> None:
        """Disable it, keyspace by keyspace."""
        for keyspace, group in groupby(sorted(tables), key=lambda t: t.keyspace):
            self._execute(_NO_COMPACTION, [keyspace, [t.table for t in group]])

    def drain(self) -> None:
        """Drain."""
        self._execute("drain()", [])

    def truncate_hints(self) -> None:
        """Delete all hints."""
        self._execute("deleteAllHints()", [], mbean=_HINTS)

    def listens(self) -> bool:
        """Connect to the agent's port."""
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return takes_connections(parts.hostname or "", port)

    def disable_clients(self) -> None:
        """Stop the native transport."""
        self._execute("stopNativeTransport()", [])

    def enable_clients(self) -> None:
        """Start the native transport."""
        self._execute("startNativeTransport()", [])

    def replay_batches(self) -> None:
        """Replay the batch log."""
        self._execute("forceBatchlogReplay()", [], mbean=_BATCHES)

    def rebuild_indexes(self, table: TableName, indexes: Sequence[str]) -> None:
        """Rebuild the indexes by one request."""
        if not indexes:
            return
        self._execute_long(
            _REBUILD,
            [table.keyspace, table.table, list(indexes)],
            still=f"the indexes of {table} are still being built",
        )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _read(self, attribute: str) -> Any:
        return self._post({"type": "read", "mbean": _STORAGE_SERVICE, "attribute": attribute})

    def _execute(
        self,
        operation: str,
        arguments: list[Any],
        *,
        mbean: str = _STORAGE_SERVICE,
        missing: BackupError | None = None,
        timeout: float | None = None,
    ) -> Any:
        return self._post(
            {
                "type": "exec",
                "mbean": mbean,
                "operation": operation,
                "arguments": arguments,
            },
            missing,
            timeout or self._timeout,
        )

    def _execute_long(
        self,
        operation: str,
        arguments: list[Any],
        *,
        still: str,
        mbean: str = _STORAGE_SERVICE,
        missing: BackupError | None = None,
        raise_if_cancelled: Callable[[], None] = lambda: None,
    ) -> Any:
        """Execute what takes its time in Cassandra; ``still`` says what runs if it takes too long.

        One request waits for the end, in a thread of its own, which stays if the waiting is
        cancelled. Repeated ones would each take one of the agent's few threads until then.
        """
        request = partial(
            self._execute,
            operation,
            arguments,
            mbean=mbean,
            missing=missing,
            timeout=self._repair.timeout,
        )
        future = _in_a_thread(request)
        while not future.done():
            wait([future], timeout=self._repair.poll)
            if not future.done():
                raise_if_cancelled()
        try:
            return future.result()
        except CassandraUnavailable as error:
            if not isinstance(error.__context__, requests.exceptions.ReadTimeout):
                raise
            raise CommandFailed(
                f"{still} after {self._repair.timeout:g} s ([jolokia] repair_timeout)"
            ) from None

    def _tls_problem(self, error: Exception) -> BackupError:
        """Return what ended the TLS handshake: our files, the agent's certificate, or the agent."""
        self._tls.context("jolokia")
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return AccessDenied(
                f"the certificate of {self._at} is not trusted; set [jolokia] ca_file"
            )
        return AccessDenied(
            f"no TLS connection to {self._at} ({error}); if the agent wants a client certificate, "
            "set [jolokia] cert_file and key_file"
        )

    def _post(
        self,
        body: dict[str, Any],
        missing: BackupError | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Return the value; raise ``missing`` if the agent does not know the bean."""
        what = str(body.get("operation", body.get("attribute"))).partition("(")[0]
        try:
            answer = self._session.post(
                self._url, json=body, timeout=(5.0, timeout or self._timeout)
            )
        except requests.exceptions.SSLError as error:
            raise self._tls_problem(error) from None
        except requests.RequestException as error:
            raise CassandraUnavailable(
                f"{what}: Jolokia at {self._at} does not answer ({type(error).__name__}); is "
                "Cassandra running with the agent?"
            ) from None
        except OSError as error:  # a file of certificates
            raise self._tls_problem(error) from None
        if answer.status_code in (401, 403):
            raise AccessDenied(
                f"Jolokia at {self._at} refuses {what}; check [jolokia] username and password"
            )
        try:
            document = answer.json()
        except ValueError:
            document = {}
        status = document.get("status") if isinstance(document, dict) else None
        if status == 200:
            return document.get("value")
        if answer.status_code in (400, 405, 413, 415):
            raise CommandFailed(
                f"{what}: Jolokia at {self._at} answers HTTP {answer.status_code}; is it an agent "
                "of version 1 or 2 in a supported Cassandra?"
            )
        if status is None or answer.status_code >= 500:
            raise CassandraUnavailable(
                f"{what}: Jolokia at {self._at} answers HTTP {answer.status_code} without a result"
            )
        if status == 404 and "InstanceNotFound" in str(document.get("error_type")):
            raise missing or CassandraUnavailable(
                f"{what}: Cassandra at {self._at} is still starting"
            )
        raise CommandFailed(f"{what}: {str(document.get('error'))[:500]}")


def _in_a_thread(request: Callable[[], Any]) -> Future[Any]:
    """Begin a request; the process may end before it does."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(request())
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            future.set_exception(error)

    threading.Thread(target=run, name="jolokia", daemon=True).start()
    return future
