# SPDX-License-Identifier: Apache-2.0
"""Tokens, the account's URL and persistent connections of the Swift driver."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from requests.adapters import HTTPAdapter
from swiftclient.client import HTTPConnection

from magnetodb_backup.errors import AccessDenied
from magnetodb_backup.storage.swift_errors import identity_errors

# Bytes written to the socket at once; the libraries' 16 KiB cost a third of the speed.
_BLOCK = 256 * 1024


@dataclass(frozen=True)
class SwiftSettings:
    """How to reach the store; times in seconds.

    ``who`` and ``where`` name the identity and the identity service in errors, without secrets.
    """

    who: str
    where: str
    region_name: str | None = None
    interface: str = "public"
    storage_url: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0


class _Adapter(HTTPAdapter):
    """The adapter of requests, with larger blocks and connections for a read beside a request."""

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=4, max_retries=0)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block=block, blocksize=_BLOCK, **pool_kwargs)


class SwiftAccess:
    """Provides tokens, the account's URL and connections to any number of threads.

    Each connection serves one caller at a time and is kept for the next one, the latest first, so
    that there are never more than there were simultaneous requests.
    """

    def __init__(self, session: Session, auth: BaseAuthPlugin, settings: SwiftSettings) -> None:
        self.settings = settings
        self._session = session
        self._auth = auth
        self._lock = threading.Lock()
        self._idle: deque[Any] = deque()

    def token(self) -> str:
        """Return a token that is not about to expire.

        :raises AccessDenied: if the identity service refuses the credentials.
        :raises StorageUnavailable: if it does not answer.
        """
        with identity_errors(self.settings.where, self.settings.who):
            token = self._session.get_token(auth=self._auth)
        if not token:
            raise AccessDenied(f"{self.settings.where} gave no token to {self.settings.who}")
        return str(token)

    def renew(self, refused: str) -> str:
        """Return a token other than ``refused``; of several callers only one requests it."""
        with self._lock:
            if self.token() == refused:
                self._session.invalidate(auth=self._auth)
            return self.token()

    def url(self) -> str:
        """Return the account's URL.

        :raises AccessDenied: if the service catalogue has no object store for this identity.
        """
        settings = self.settings
        if settings.storage_url:
            return settings.storage_url.rstrip("/")
        with identity_errors(settings.where, settings.who):
            url = self._session.get_endpoint(
                auth=self._auth,
                service_type="object-store",
                interface=settings.interface,
                region_name=settings.region_name,
            )
        if not url:
            region = settings.region_name or "any region"
            raise AccessDenied(
                f"the catalogue that {settings.where} shows to {settings.who} has no "
                f"{settings.interface} endpoint of an object-store in {region}; check region_name "
                "and interface in [swift], or set storage_url"
            )
        return str(url).rstrip("/")

    @contextlib.contextmanager
    def connection(self, url: str) -> Iterator[Any]:
        """Lend a swiftclient connection to ``url``'s host."""
        try:
            connection = self._idle.pop()
            if connection.url != url:
                connection.close()
                connection = self._connect(url)
        except IndexError:
            connection = self._connect(url)
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _connect(self, url: str) -> Any:
        settings = self.settings
        verify = self._session.verify
        connection = HTTPConnection(
            url,
            cacert=verify if isinstance(verify, str) else None,
            insecure=verify is False,
            timeout=(settings.connect_timeout, settings.read_timeout),
        )
        if self._session.cert:
            connection.requests_args["cert"] = self._session.cert
        session: requests.Session = connection.request_session
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter())
        return connection
