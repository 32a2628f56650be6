# SPDX-License-Identifier: Apache-2.0
"""Builds the parts that processes share from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oslo_config import cfg

from magnetodb_backup.database import Database, connect
from magnetodb_backup.errors import AccessDenied
from magnetodb_backup.plugins.loading import load_storage
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.storage.throttling import Throttled


def state_dir(conf: cfg.ConfigOpts) -> Path:
    """Return the state directory, made if need be.

    :raises AccessDenied: if it cannot be made.
    """
    path = Path(conf.state_dir)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise AccessDenied(
            f"state_dir {path} cannot be made ({error.strerror}); make it for the service's user "
            "or set state_dir"
        ) from None
    return path


def open_database(conf: cfg.ConfigOpts) -> Database:
    """Connect to ``[database] connection``, by default an SQLite file in the state directory."""
    url = conf.database.connection
    if not url:
        url = f"sqlite:///{state_dir(conf) / 'magnetodb-backup.sqlite'}"
    return connect(url)


def open_storage(
    conf: cfg.ConfigOpts, on_retry: Callable[[str], object] | None = None
) -> StorageDriver:
    """Make the configured storage driver, throttled and with repetition.

    ``on_retry`` is called with the reason of each repetition of a request.
    """
    return Retrying(
        Throttled(load_storage(conf), byte_rate(conf)),
        deadline=conf.storage.retry_deadline,
        on_retry=on_retry,
    )


def byte_rate(
    conf: cfg.ConfigOpts, group: str = "storage", option: str = "bytes_per_second"
) -> Callable[[], int]:
    """Return a function that returns the current value of an option, by default of the store's.

    The option itself must not be asked by threads: oslo.config keeps the old value for ever if
    one does while it reads the files again.
    """
    rate = int(conf[group][option])

    def on_change(conf: cfg.ConfigOpts, changed: object) -> None:
        nonlocal rate
        rate = int(conf[group][option])

    conf.register_mutate_hook(on_change)
    return lambda: rate
