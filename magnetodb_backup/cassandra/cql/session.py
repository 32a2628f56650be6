# SPDX-License-Identifier: Apache-2.0
"""The only module that imports the DataStax driver.

The driver prefers eventlet or gevent where one of them has patched the process, and a libev
extension or asyncore otherwise; the connection class is therefore chosen here.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    CassandraUnavailable,
    CommandFailed,
)

with warnings.catch_warnings():
    # The driver imports eventlet where it is installed, and eventlet warns of itself.
    warnings.simplefilter("ignore", DeprecationWarning)
    from cassandra import (
        AuthenticationFailed,
        ConsistencyLevel,
        CoordinationFailure,
        DependencyException,
        OperationTimedOut,
        RequestExecutionException,
        RequestValidationException,
        Unauthorized,
        Unavailable,
    )
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import (
        EXEC_PROFILE_DEFAULT,
        Cluster,
        ExecutionProfile,
        NoHostAvailable,
    )
    from cassandra.connection import ConnectionException
    from cassandra.policies import WhiteListRoundRobinPolicy
    from cassandra.protocol import ErrorMessage
    from cassandra.protocol import RequestValidationException as RefusalMessage
    from cassandra.query import SimpleStatement, named_tuple_factory
    from cassandra.util import unix_time_from_uuid1

LOG = logging.getLogger(__name__)
_CONNECT, _REQUEST = 5.0, 30.0  # seconds
_PAGE = 5000  # rows
# The guardrail, as Cassandra's refusal of a larger page names it.
PAGE_SIZE = "page_size"
# What PasswordAuthenticator and CassandraAuthorizer (4.1, 5.0) say when they cannot read the roles.
_UNCERTAIN = "Unable to perform auth"
_GRANTS = (
    "GRANT SELECT ON KEYSPACE system_views and, to restore, SELECT ON KEYSPACE system and CREATE, "
    "ALTER, DROP, MODIFY and SELECT on what is restored to"
)


def _connection_class() -> Any:
    try:
        from cassandra.io.libevreactor import LibevConnection
    except (ImportError, DependencyException):
        from cassandra.io.asyncioreactor import AsyncioConnection

        return AsyncioConnection
    return LibevConnection


@dataclass(frozen=True)
class Page:
    """Some rows of an answer, and the paging state of the next ones; None after the last."""

    rows: list[Any]
    next: bytes | None


@dataclass(frozen=True)
class CqlAccess:
    """Where a node serves clients, and how to log in; without a username there is no login."""

    address: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsFiles | None = None


class PinnedSession:
    """A CQL session with exactly one node, whose local and virtual tables it reads."""

    def __init__(self, access: CqlAccess) -> None:
        address = access.address
        self._where = f"{address}:{access.port}"
        context = access.tls.context("cassandra") if access.tls else None
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([address]),
            request_timeout=_REQUEST,
            row_factory=named_tuple_factory,
        )
        self._cluster = Cluster(
            [address],
            port=access.port,
            auth_provider=(
                PlainTextAuthProvider(access.username, access.password) if access.username else None
            ),
            # Version 5 ends in "CRC mismatch on header" now and then (PYTHON-1337); 4 is enough.
            protocol_version=4,
            ssl_context=context,
            ssl_options={"server_hostname": address} if context else None,
            connection_class=_connection_class(),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            schema_metadata_enabled=False,
            token_metadata_enabled=False,
            connect_timeout=_CONNECT,
            control_connection_timeout=_CONNECT,
            max_schema_agreement_wait=0,  # callers wait by themselves where they need it
        )
        try:
            self._session = self._mapped(self._cluster.connect)
        except BaseException:
            self._cluster.shutdown()
            raise

    def rows(
        self,
        query: str,
        parameters: Sequence[Any] | None = None,
        *,
        timeout: float = _REQUEST,
        consistency: str = "LOCAL_ONE",
    ) -> list[Any]:
        """Return all rows of a query, as named tuples; ``%s`` in it are the parameters.

        A guardrail may bound the size of pages, but not of answers without pages.

        :raises CassandraUnavailable: if the node or too many replicas do not answer.
        :raises AccessDenied: if the credentials are not sufficient.
        :raises CommandFailed: if Cassandra refuses the query or fails to execute it.
        """
        level = ConsistencyLevel.name_to_value[consistency]

        def read(size: int | None) -> list[Any]:
            statement = SimpleStatement(query, consistency_level=level, fetch_size=size)
            return list(self._session.execute(statement, parameters, timeout))

        try:
            return cast("list[Any]", self._mapped(lambda: read(_PAGE)))
        except CommandFailed as error:
            if PAGE_SIZE not in str(error):
                raise
            return cast("list[Any]", self._mapped(lambda: read(None)))

    def page(self, query: str, *, size: int, after: bytes | None, consistency: str) -> Page:
        """Return at most ``size`` rows after the paging state ``after`` of another page.

        Raises the errors of ``rows()``.
        """
        level = ConsistencyLevel.name_to_value[consistency]
        statement = SimpleStatement(query, consistency_level=level, fetch_size=size)

        def read() -> Page:
            result = self._session.execute(statement, timeout=_REQUEST, paging_state=after)
            return Page(list(result.current_rows), result.paging_state)

        return cast("Page", self._mapped(read))

    def close(self) -> None:
        """Close the connection."""
        self._cluster.shutdown()

    def _mapped(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except NoHostAvailable as error:
            causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
            # The driver tried other nodes after an answer, but the list has no other node.
            problem = causes[0] if causes else None
        except (
            ConnectionException,
            ErrorMessage,
            OperationTimedOut,
            RequestExecutionException,
            RequestValidationException,
        ) as error:
            problem = error
        raise self._meaning(problem) from None

    def _meaning(self, problem: Any) -> BackupError:
        refusal = isinstance(problem, (AuthenticationFailed, Unauthorized))
        if refusal and _UNCERTAIN in str(problem):
            return CassandraUnavailable(
                f"Cassandra at {self._where} cannot check [cassandra] username and password now: "
                f"too few replicas of system_auth answer ({_text(problem)})"
            )
        if isinstance(problem, AuthenticationFailed):
            return AccessDenied(
                f"Cassandra at {self._where} does not accept [cassandra] username and password"
            )
        if isinstance(problem, Unauthorized):
            return AccessDenied(
                f"Cassandra at {self._where}: {_text(problem)}; {_GRANTS} the role of [cassandra] "
                "username"
            )
        if isinstance(problem, (RequestValidationException, RefusalMessage, CoordinationFailure)):
            return CommandFailed(f"Cassandra at {self._where}: {_text(problem)}")
        if isinstance(problem, Unavailable):
            return CassandraUnavailable(
                f"Cassandra at {self._where} has {problem.alive_replicas} live replicas of the "
                f"{problem.required_replicas} that the statement needs; start the nodes that are "
                "down"
            )
        if isinstance(problem, (RequestExecutionException, ErrorMessage)):
            return CassandraUnavailable(
                f"Cassandra at {self._where} could not execute it: {_text(problem)}"
            )
        reason = type(problem).__name__ if problem else "no connection"
        return CassandraUnavailable(
            f"Cassandra does not answer CQL at {self._where} ({reason}); is it running, and are "
            "[cassandra] address and native_port right?"
        )


def time_of(identifier: Any) -> float:
    """Return the time of a ``timeuuid``, in seconds since the epoch."""
    return float(unix_time_from_uuid1(identifier))


def _text(problem: Exception) -> str:
    """Return Cassandra's message."""
    message = problem.message if isinstance(problem, ErrorMessage) else str(problem)
    return " ".join(str(message).split())[:500]
