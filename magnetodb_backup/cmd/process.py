# SPDX-License-Identifier: Apache-2.0
"""Keeps a process running until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Protocol

from oslo_config import cfg

LOG = logging.getLogger(__name__)


class Service(Protocol):
    """Something with a beginning and an end."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


def run(services: list[Service], conf: cfg.ConfigOpts) -> None:
    """Start the services in order; stop them in reverse on SIGTERM or SIGINT.

    SIGHUP reads the options that may change at run time again.
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
    try:
        for service in services:
            service.start()
            started.append(service)
        LOG.info("started")
        while not stop.wait(0.5):
            if reload.is_set():
                reload.clear()
                conf.mutate_config_files()
                LOG.info("configuration read again")
    finally:
        for service in reversed(started):
            service.stop()
        LOG.info("stopped")
