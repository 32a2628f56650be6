# SPDX-License-Identifier: Apache-2.0
"""Swift's cache in the proxy's own memory, in place of memcached; loaded by the proxy."""

import json
import time


class ProcessCache:
    """The part of Swift's memcache client that the proxy and authtoken use."""

    def __init__(self):
        self._values = {}

    def get(self, key, raise_on_error=False):
        text, expires = self._values.get(key, (None, 0))
        if text is None or (expires and expires < time.time()):
            return None
        return json.loads(text)

    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        # As JSON, so that nobody shares a mutable value.
        if isinstance(value, bytes):
            value = value.decode()
        if len(self._values) > 20000:
            self._values.clear()
        self._values[key] = (json.dumps(value), _now() + time if time else 0)

    def delete(self, key, server_key=None):
        self._values.pop(key, None)

    def incr(self, key, delta=1, time=0):
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -delta, time)

    def get_multi(self, keys, server_key):
        return [self.get(key) for key in keys]

    def set_multi(self, mapping, server_key, serialize=True, time=0, min_compress_len=0):
        for key, value in mapping.items():
            self.set(key, value, time=time)


def _now():
    return time.time()


def filter_factory(global_conf, **local_conf):
    """paste.deploy's entry."""
    cache = ProcessCache()

    def make(application):
        def handle(environment, start_response):
            environment["swift.cache"] = cache
            return application(environment, start_response)

        return handle

    return make
