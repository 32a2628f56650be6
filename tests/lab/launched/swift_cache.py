# SPDX-License-Identifier: Apache-2.0
"""Swift's cache in the proxy's own memory, in place of memcached; loaded by the proxy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# A WSGI application; it runs in Swift's environment, which has no wsgiref types.
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class ProcessCache:
    """The part of Swift's memcache client that the proxy and authtoken use."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, float]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        text, expires = self._values.get(key, ("", 0.0))
        if not text or (expires and expires < time.time()):
            return None
        return json.loads(text)

    def set(
        self,
        key: str,
        value: Any,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
        raise_on_error: bool = False,
    ) -> None:
        # As JSON, so that nobody shares a mutable value.
        if isinstance(value, bytes):
            value = value.decode()
        if len(self._values) > 20000:
            self._values.clear()
        self._values[key] = (json.dumps(value), _now() + time if time else 0)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._values.pop(key, None)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)

    def get_multi(self, keys: Iterable[str], server_key: str) -> list[Any]:
        return [self.get(key) for key in keys]

    def set_multi(
        self,
        mapping: Mapping[str, Any],
        server_key: str,
        serialize: bool = True,
        time: float = 0,
        min_compress_len: int = 0,
    ) -> None:
        for key, value in mapping.items():
            self.set(key, value, time=time)


def _now() -> float:
    return time.time()


def filter_factory(
    global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[Application], Application]:
    """paste.deploy's entry."""
    cache = ProcessCache()

    def make(application: Application) -> Application:
        def handle(environment: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            environment["swift.cache"] = cache
            return application(environment, start_response)

        return handle

    return make
