# SPDX-License-Identifier: Apache-2.0
"""A process of two services, for the tests of signals: ``launched.py FILE [FLAW]``.

It tells on standard output what happens to them, and how many bytes per second may go.
``FLAW`` is ``start`` or ``stop``: what the second service cannot do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.errors import InvalidValue


def tell(text: str) -> None:
    print(text, flush=True)


class First:
    """Tells the limit whenever it changes, from a thread of its own as an upload would."""

    def __init__(self, rate: Callable[[], int]) -> None:
        self._rate, self._stopping = rate, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def start(self) -> None:
        tell("first starts")
        self._thread.start()

    def _watch(self) -> None:
        told = None
        while not self._stopping.wait(0.001):
            if (limit := self._rate()) != told:
                tell(f"limit {limit}")
                told = limit

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        tell("first stops")


class Second:
    """A service that starts after another one, with a flaw or none."""

    def __init__(self, flaw: str) -> None:
        self._flaw = flaw

    def start(self) -> None:
        if self._flaw == "start":
            raise InvalidValue("the second service cannot start")
        tell("second starts")

    def stop(self) -> None:
        tell("second stops")
        if self._flaw == "stop":
            raise OSError("the broker is gone")


def main() -> None:
    conf = configuration.load([f"--config-file={sys.argv[1]}"])
    configuration.set_up_logging(conf)
    process.run([First(parts.byte_rate(conf)), Second("".join(sys.argv[2:]))], conf)


if __name__ == "__main__":
    sys.exit(configuration.guarded(main))
