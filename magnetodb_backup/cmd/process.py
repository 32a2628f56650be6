# SPDX-License-Identifier: Apache-2.0
"""Runs the services of a process until a signal ends it."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Protocol

from oslo_config import cfg

from magnetodb_backup.cmd import configuration
from magnetodb_backup.errors import InvalidValue

LOG = logging.getLogger(__name__)
_LAST_START = 2.0  # seconds that a start may still take when the process is to stop


class Service(Protocol):
    """A part of a process that is started and stopped."""

    def start(self) -> None:
        """Start; an exception ends the process."""

    def stop(self) -> None:
        """Stop, finishing what must not be left half done."""


def run(services: list[Service], conf: cfg.ConfigOpts) -> None:
    """Start the services in order; stop them in reverse on SIGTERM or SIGINT.

    SIGHUP reads the options that may change at run time again. Services start in a thread of
    their own: one that waits for the message bus must not keep signals waiting.

    :raises BaseException: what a service's start raised.
    """
    stop, reload = threading.Event(), threading.Event()

    def on_stop(signum: int, frame: FrameType | None) -> None:
        stop.set()

    def on_reload(signum: int, frame: FrameType | None) -> None:
        reload.set()

    signal.signal(signal.SIGTERM, on_stop)
    signal.signal(signal.SIGINT, on_stop)
    signal.signal(signal.SIGHUP, on_reload)
    started: list[Service] = []
    failures: list[BaseException] = []

    def start() -> None:
        try:
            for service in services:
                service.start()
                started.append(service)
                if stop.is_set():
                    return
            LOG.info("started")
        except BaseException as error:  # noqa: BLE001 - raised below, in the main thread
            failures.append(error)
            stop.set()

    starting = threading.Thread(target=start, name="start", daemon=True)
    starting.start()
    while not stop.wait(0.5):
        if reload.is_set():
            reload.clear()
            _reread(conf)
    starting.join(_LAST_START)
    for service in reversed(started):
        _stop(service)
    LOG.info("stopped")
    if failures:
        raise failures[0]


def _stop(service: Service) -> None:
    """Stop a service; an error is logged, so that the others are stopped too."""
    try:
        service.stop()
    except Exception:
        LOG.exception("%s did not stop well", type(service).__name__)


def _reread(conf: cfg.ConfigOpts) -> None:
    try:
        configuration.reread(conf)
    except InvalidValue as error:
        LOG.error("the configuration stays as it was: %s", error)
    else:
        LOG.info("configuration read again")
