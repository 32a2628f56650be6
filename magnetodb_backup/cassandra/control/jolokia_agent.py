# SPDX-License-Identifier: Apache-2.0
"""Requests to a Jolokia agent: JMX over one persistent HTTP connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests

from magnetodb_backup.cassandra.control.service_commands import takes_connections
from magnetodb_backup.cassandra.tls import TlsFiles
from magnetodb_backup.errors import (
    AccessDenied,
    BackupError,
    CassandraUnavailable,
    CommandFailed,
)

_STORAGE_SERVICE = "org.apache.cassandra.db:type=StorageService"


@dataclass(frozen=True)
class LongWaits:
    """Times of waiting for long work in Cassandra, in seconds.

    A repair, an import or a build of indexes may take ``timeout``; whether it has ended is looked
    at every ``poll``. The waiting ends if the agent does not answer for ``silence``.
    """

    timeout: float = 86_400.0
    poll: float = 1.0
    silence: float = 60.0


class JolokiaAgent:
    """Sends requests to one agent; ``timeout`` in seconds for one of them.

    Every method may raise CassandraUnavailable (Transient), AccessDenied or CommandFailed.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str,
        password: str,
        tls: TlsFiles,
        timeout: float,
        waits: LongWaits,
    ) -> None:
        self._url, self._timeout, self._waits = url.rstrip("/") + "/", timeout, waits
        parts = urlsplit(self._url)  # messages must not contain a password
        self.at = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._session = requests.Session()
        self._session.trust_env = False
        if username:
            self._session.auth = (username, password)
        self._tls = tls
        if self._tls.ca:
            self._session.verify = self._tls.ca
        self._session.cert = self._tls.client()

    def listens(self) -> bool:
        """Return whether the agent's port accepts connections."""
        parts = urlsplit(self._url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return takes_connections(parts.hostname or "", port)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def read(self, attribute: str) -> Any:
        """Return an attribute of the StorageService."""
        return self._post({"type": "read", "mbean": _STORAGE_SERVICE, "attribute": attribute})

    def execute(
        self,
        operation: str,
        arguments: list[Any],
        *,
        mbean: str = _STORAGE_SERVICE,
        missing: BackupError | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Execute an operation and return its value.

        ``missing`` is raised if the agent does not know the bean.
        """
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

    def execute_long(
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
            self.execute,
            operation,
            arguments,
            mbean=mbean,
            missing=missing,
            timeout=self._waits.timeout,
        )
        future = _in_a_thread(request)
        while not future.done():
            wait([future], timeout=self._waits.poll)
            if not future.done():
                raise_if_cancelled()
        try:
            return future.result()
        except CassandraUnavailable as error:
            if not isinstance(error.__context__, requests.exceptions.ReadTimeout):
                raise
            raise CommandFailed(
                f"{still} after {self._waits.timeout:g} s ([jolokia] repair_timeout)"
            ) from None

    def _tls_problem(self, error: Exception) -> BackupError:
        """Return what ended the TLS handshake: our files, the agent's certificate, or the agent."""
        self._tls.context("jolokia")
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return AccessDenied(
                f"the certificate of {self.at} is not trusted; set [jolokia] ca_file"
            )
        return AccessDenied(
            f"no TLS connection to {self.at} ({error}); if the agent wants a client certificate, "
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
                f"{what}: Jolokia at {self.at} does not answer ({type(error).__name__}); is "
                "Cassandra running with the agent?"
            ) from None
        except OSError as error:  # a file of certificates
            raise self._tls_problem(error) from None
        if answer.status_code in (401, 403):
            raise AccessDenied(
                f"Jolokia at {self.at} refuses {what}; check [jolokia] username and password"
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
                f"{what}: Jolokia at {self.at} answers HTTP {answer.status_code}; is it an agent "
                "of version 1 or 2 in a supported Cassandra?"
            )
        if status is None or answer.status_code >= 500:
            raise CassandraUnavailable(
                f"{what}: Jolokia at {self.at} answers HTTP {answer.status_code} without a result"
            )
        if status == 404 and "InstanceNotFound" in str(document.get("error_type")):
            raise missing or CassandraUnavailable(
                f"{what}: Cassandra at {self.at} is still starting"
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
