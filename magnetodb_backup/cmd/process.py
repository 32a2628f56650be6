# SPDX-License-Identifier: Apache-2.0
"""Keeps a process running until it is told to stop."""

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
                _reread(conf)
    finally:
        for service in reversed(started):
            _stop(service)
        LOG.info("stopped")


def _stop(service: Service) -> None:
    """Stop a service; its trouble must not keep the others from an orderly end."""
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
