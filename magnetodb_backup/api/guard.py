# SPDX-License-Identifier: Apache-2.0
"""Refuses requests that a foreign web page makes a browser send."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import falcon


class Guard:
    """Middleware that looks at the headers Host and Origin.

    A page can let a browser send requests to a loopback or tunnelled address. With an own name that
    resolves to that address it could read the answers too, so only addresses, ``localhost``, the
    machine's name and ``host_names`` are taken as Host. An Origin, if there is one, is that of the
    Host: the API serves no pages.
    """

    def __init__(self, host_names: Iterable[str]) -> None:
        names = {"localhost", socket.gethostname(), *host_names}
        self._names = {name.lower().rstrip(".") for name in names}

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Check a request.

        :raises falcon.HTTPForbidden: naming the header and its value.
        """
        if not self._is_own(request.host):
            raise falcon.HTTPForbidden(
                description=f"Host {request.host!r} is not a name of this API; use its address, or "
                "add the name to [api] host_names"
            )
        origin = request.get_header("Origin")
        if origin is not None and urlsplit(origin).netloc != request.netloc:
            raise falcon.HTTPForbidden(
                description=f"Origin {origin!r} is another site; the API takes no requests of pages"
            )

    def _is_own(self, host: str) -> bool:
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return host.lower().rstrip(".") in self._names
        return True
