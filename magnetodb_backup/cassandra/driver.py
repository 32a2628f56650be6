# SPDX-License-Identifier: Apache-2.0
"""The only module that imports the DataStax driver.

The driver prefers eventlet or gevent where one of them has patched the process, and a libev
extension or asyncore otherwise; the connection class is therefore chosen here.
"""

from __future__ import annotations

import logging
import ssl
import warnings
from collections.abc import Callable
from typing import Any, cast

from magnetodb_backup.errors import AccessDenied, CassandraUnavailable

with warnings.catch_warnings():
    # The driver imports eventlet where it is installed, and eventlet warns of itself.
    warnings.simplefilter("ignore", DeprecationWarning)
    from cassandra import (
        AuthenticationFailed,
        DependencyException,
        OperationTimedOut,
        RequestExecutionException,
        Unauthorized,
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
    from cassandra.query import named_tuple_factory

LOG = logging.getLogger(__name__)
_CONNECT, _REQUEST = 5.0, 30.0  # seconds


def _connection_class() -> Any:
    try:
        from cassandra.io.libevreactor import LibevConnection
    except (ImportError, DependencyException):
        from cassandra.io.asyncioreactor import AsyncioConnection

        return AsyncioConnection
    return LibevConnection


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise AccessDenied(
            f"[cassandra] ca_file {ca_file} cannot be used ({error.strerror or error})"
        ) from None


class PinnedSession:
    """A CQL session with exactly one node, so that local and virtual tables are that node's."""

    def __init__(self, address: str, port: int, username: str, password: str, ca_file: str) -> None:
        self._where = f"{address}:{port}"
        context = _context(ca_file) if ca_file else None
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([address]),
            request_timeout=_REQUEST,
            row_factory=named_tuple_factory,
        )
        self._cluster = Cluster(
            [address],
            port=port,
            auth_provider=PlainTextAuthProvider(username, password) if username else None,
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
        )
        try:
            self._session = self._mapped(self._cluster.connect)
        except BaseException:
            self._cluster.shutdown()
            raise

    def rows(self, query: str, *, timeout: float = _REQUEST) -> list[Any]:
        """Return all rows of a query, as named tuples.

        :raises CassandraUnavailable: if the node does not answer.
        :raises AccessDenied: if the credentials do not suffice.
        """
        return cast(
            "list[Any]", self._mapped(lambda: list(self._session.execute(query, timeout=timeout)))
        )

    def close(self) -> None:
        """Close the connection."""
        self._cluster.shutdown()

    def _mapped(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except NoHostAvailable as error:
            causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
            if any(isinstance(cause, AuthenticationFailed) for cause in causes):
                raise AccessDenied(
                    f"Cassandra at {self._where} does not accept [cassandra] username and password"
                ) from None
            reason = type(causes[0]).__name__ if causes else "no connection"
        except Unauthorized as error:
            raise AccessDenied(
                f"Cassandra at {self._where}: {error}; GRANT SELECT ON KEYSPACE system_views to "
                "the role of [cassandra] username"
            ) from None
        except (OperationTimedOut, ConnectionException, RequestExecutionException) as error:
            reason = type(error).__name__
        raise CassandraUnavailable(
            f"Cassandra does not answer CQL at {self._where} ({reason}); is it running, and are "
            "[cassandra] address and native_port right?"
        ) from None
