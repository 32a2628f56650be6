# SPDX-License-Identifier: Apache-2.0
"""A running scratch Cassandra: one node with an empty schema, which serves CQL on loopback."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from magnetodb_backup.cassandra.scratch.configuration import (
    Endpoint,
    read_settings,
    scratch_settings,
    write_configuration,
)
from magnetodb_backup.cassandra.scratch.installation import Installation
from magnetodb_backup.cassandra.scratch.process import RECORD, ScratchProcess
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import (
    CassandraUnavailable,
    CommandFailed,
    ScratchFailed,
)

LOG = logging.getLogger(__name__)
_DAEMON = "org.apache.cassandra.service.CassandraDaemon"
_LOOK_EVERY = 0.2  # seconds
_ATTEMPTS = 3  # another process may take a port between its choice and its use
_TAIL_LINES, _TAIL = 12, 1500  # of the log, in an error
_PORT_TAKEN = re.compile(r"Address already in use|in use by another process", re.I)
# The driver's form of an error for which it has no class of its own.
_MESSAGE = re.compile(r'Error from server: code=\w+ \[[^]]*\] message="(?P<text>.*)"')
# One node that waits for no other.
_PROPERTIES = {
    "cassandra-foreground": "yes",
    "cassandra.skip_wait_for_gossip_to_settle": "0",
    "cassandra.ring_delay_ms": "1000",
    "cassandra.gossip_settle_min_wait_ms": "0",
    "cassandra.superuser_setup_delay_ms": "0",
    "cassandra.consistent.rangemovement": "false",
}


class Cql(Protocol):
    """What is asked of a scratch Cassandra over CQL. Raises CassandraUnavailable."""

    def execute(self, statement: str) -> None:
        """Execute DDL; raises CommandFailed with Cassandra's message if it is refused."""

    def local(self) -> RingMember:
        """Return the node."""

    def close(self) -> None:
        """Close the connection."""


# Connects to an address and a port; raises CassandraUnavailable.
Connect = Callable[[str, int], Cql]


@dataclass(frozen=True)
class ScratchSettings:
    """How a scratch Cassandra is started; times in seconds.

    ``configuration`` is the path of the node's ``cassandra.yaml``. Cassandra flushes its schema in
    ``stop_timeout`` and is killed then.
    """

    installation: Installation
    configuration: str
    address: str
    start_timeout: float
    verify_timeout: float
    stop_timeout: float = 60.0


class ScratchNode:
    """A scratch Cassandra that serves CQL."""

    def __init__(self, cql: Cql, endpoint: Endpoint) -> None:
        self._cql = cql
        self._prefix = f"Cassandra at {endpoint.address}:{endpoint.native_port}: "

    def execute(self, statement: str) -> str:
        """Execute DDL; return Cassandra's message if it refuses the statement, else nothing.

        :raises ScratchFailed: if Cassandra does not answer.
        """
        try:
            self._cql.execute(statement)
        except CommandFailed as error:
            text = str(error).removeprefix(self._prefix)
            found = _MESSAGE.fullmatch(text)
            return (found["text"] if found else text) or "refused without a message"
        except CassandraUnavailable as error:
            raise ScratchFailed(f"the scratch Cassandra does not answer: {error}") from None
        return ""

    def version(self) -> str:
        """Return the version of Cassandra."""
        return self._cql.local().version


@contextmanager
def scratch_node(
    home: Path,
    settings: ScratchSettings,
    connect: Connect,
    raise_if_cancelled: Callable[[], None],
    *,
    lenient: bool,
) -> Iterator[ScratchNode]:
    """Run a scratch Cassandra below ``home``; its schema is on disk after a regular end.

    With ``lenient`` it can create every kind of table, also one that the node does not allow.

    :raises ScratchFailed: if it does not start, with the end of its log.
    """
    own = read_settings(settings.configuration)
    for attempt in range(1, _ATTEMPTS + 1):
        endpoint = Endpoint(settings.address, *_free_ports(settings.address, 2))
        write_configuration(home, scratch_settings(own, home, endpoint, lenient=lenient))
        log = home / f"log-{attempt}"
        process = _start(home, settings.installation, log)
        try:
            cql = _connected(process, endpoint, settings.start_timeout, connect, raise_if_cancelled)
            if cql is None and process.code() is not None and _PORT_TAKEN.search(_tail(log)):
                continue
            if cql is None:
                raise ScratchFailed(_why(process, settings.start_timeout, log))
            try:
                yield ScratchNode(cql, endpoint)
            finally:
                cql.close()
            process.end(settings.stop_timeout)
            return
        finally:
            process.end()
    raise ScratchFailed(
        f"the scratch Cassandra found no free ports on {settings.address} in {_ATTEMPTS} attempts"
    )


def _start(home: Path, installation: Installation, log: Path) -> ScratchProcess:
    conf = home / "conf"
    properties = {
        **_PROPERTIES,
        "cassandra.config": f"file://{conf / 'cassandra.yaml'}",
        "cassandra.storagedir": str(home),
        "cassandra.logdir": str(home),
        "logback.configurationFile": f"file://{conf / 'logback.xml'}",
    }
    command = installation.command(home / f"{RECORD}-cassandra", conf, properties, _DAEMON)
    LOG.info("starting a scratch Cassandra in %s", home)
    with log.open("wb") as output:
        return ScratchProcess(command, home, output)


def _connected(
    process: ScratchProcess,
    endpoint: Endpoint,
    timeout: float,
    connect: Connect,
    raise_if_cancelled: Callable[[], None],
) -> Cql | None:
    """Return the connection, None if the process ends or the time is over before."""
    deadline = time.monotonic() + timeout
    while process.code() is None and time.monotonic() < deadline:
        raise_if_cancelled()
        if _listens(endpoint):
            try:
                return connect(endpoint.address, endpoint.native_port)
            except CassandraUnavailable as error:
                LOG.debug("the scratch Cassandra does not serve yet: %s", error)
        time.sleep(_LOOK_EVERY)
    return None


def _listens(endpoint: Endpoint) -> bool:
    try:
        with socket.create_connection((endpoint.address, endpoint.native_port), 1.0):
            return True
    except OSError:
        return False


def _free_ports(address: str, count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((address, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    except OSError as error:
        raise ScratchFailed(
            f"{address} cannot be used ({error.strerror}); correct [scratch] address"
        ) from None
    finally:
        for probe in probes:
            probe.close()


def _why(process: ScratchProcess, timeout: float, log: Path) -> str:
    code = process.code()
    ended = f"ended with {code}" if code is not None else f"does not answer after {timeout:g} s"
    remedy = "" if code is not None else "; see [scratch] start_timeout"
    return f"the scratch Cassandra {ended}{remedy}; the end of its log: {_tail(log) or 'nothing'}"


def _tail(log: Path) -> str:
    """Return the last lines of a log that say something."""
    with log.open("rb") as file:
        file.seek(max(file.seek(0, 2) - 64 * 1024, 0))
        lines = file.read().decode(errors="replace").splitlines()
    telling = [
        " ".join(x.split()) for x in lines if x.strip() and not re.match(r"\s+at |\s+\.\.", x)
    ]
    return " | ".join(telling[-_TAIL_LINES:])[-_TAIL:]
