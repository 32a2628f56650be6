# SPDX-License-Identifier: Apache-2.0
"""Builds the parts that processes share from the configuration."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oslo_config import cfg
from stevedore.exception import NoMatches
from tooz import coordination

from magnetodb_backup.cassandra import cql
from magnetodb_backup.conductor.runner import JobRunner, RunnerSettings
from magnetodb_backup.conductor.service import ConductorService, JobLoop
from magnetodb_backup.database import Database, connect
from magnetodb_backup.errors import AccessDenied, InvalidValue
from magnetodb_backup.messaging.bus import (
    CONDUCTOR_TOPIC,
    WORKER_TOPIC,
    make_server,
)
from magnetodb_backup.messaging.conductor import ConductorClient, ConductorEndpoint
from magnetodb_backup.messaging.worker import WorkerClient, WorkerEndpoint
from magnetodb_backup.plugins.loading import load_node_control, load_storage
from magnetodb_backup.repository.upload import UploadSettings
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.storage.throttling import Throttled
from magnetodb_backup.worker.identity import WorkerIdentity
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.reporting import Reporter
from magnetodb_backup.worker.service import WorkerService, spawn
from magnetodb_backup.worker.tasks import Tasks
from magnetodb_backup.worker.work import BackupWork, WorkSettings

LOG = logging.getLogger(__name__)


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


def open_storage(conf: cfg.ConfigOpts) -> StorageDriver:
    """Make the configured storage driver, throttled and with repetition."""
    return Retrying(
        Throttled(load_storage(conf), byte_rate(conf)),
        deadline=conf.storage.retry_deadline,
    )


def byte_rate(conf: cfg.ConfigOpts) -> Callable[[], int]:
    """Return what tells ``[storage] bytes_per_second``, as it is after each reading.

    The option itself must not be asked by threads: oslo.config keeps the old value for ever if
    one does while it reads the files again.
    """
    rate = int(conf.storage.bytes_per_second)

    def on_change(conf: cfg.ConfigOpts, changed: object) -> None:
        nonlocal rate
        rate = int(conf.storage.bytes_per_second)

    conf.register_mutate_hook(on_change)
    return lambda: rate


def open_leases(conf: cfg.ConfigOpts, name: str) -> Any:
    """Return a started tooz coordinator.

    :raises InvalidValue: if the back end cannot be used.
    """
    url = conf.coordination.backend_url
    if not url:
        directory = state_dir(conf) / "leases"
        directory.mkdir(exist_ok=True, mode=0o750)
        url = f"file://{directory}"
    try:
        coordinator = coordination.get_coordinator(url, name.encode())
        coordinator.start(start_heart=True)
    except (coordination.ToozError, NoMatches) as error:
        raise InvalidValue(
            f"[coordination] backend_url is not usable: {type(error).__name__}: {error}"
        ) from None
    except ValueError:  # its text may be a part of the URL
        raise InvalidValue("[coordination] backend_url is no URL of a tooz back end") from None
    return coordinator


def process_name() -> str:
    """Return what tells this process from others: host and process ID."""
    return f"{socket.gethostname()}:{os.getpid()}"


def make_conductor(
    conf: cfg.ConfigOpts,
    database: Database,
    transport: Any,
    storage: Callable[[], StorageDriver],
) -> ConductorService:
    """Compose a conductor."""
    name, stopping = process_name(), threading.Event()
    settings = RunnerSettings(
        prefix=conf.storage.prefix,
        poll_interval=conf.conductor.poll_interval,
        worker_timeout=conf.conductor.worker_timeout,
        outage_deadline=conf.conductor.outage_deadline,
        rounds=conf.conductor.snapshot_rounds,
    )
    loop = JobLoop(
        database,
        open_leases(conf, name),
        JobRunner(database, WorkerClient(transport), storage, settings, stopping),
        name=name,
        poll_interval=conf.conductor.poll_interval,
        concurrent_jobs=conf.conductor.concurrent_jobs,
        stopping=stopping,
    )
    endpoint = ConductorEndpoint(loop.take_report, loop.wake)
    server = make_server(transport, CONDUCTOR_TOPIC, name, endpoint)
    return ConductorService(server, loop, stopping)


def make_worker(conf: cfg.ConfigOpts, transport: Any, storage: StorageDriver) -> WorkerService:
    """Compose a worker for the local Cassandra node."""
    directory = state_dir(conf)
    identity = WorkerIdentity(directory)
    node = LocalNode(
        lambda: cql.from_conf(conf),
        load_node_control(conf),
        expected_host_id=conf.cassandra.host_id or "",
        configured_directories=conf.cassandra.data_directories,
    )
    work = BackupWork(
        node,
        storage,
        WorkSettings(
            prefix=conf.storage.prefix,
            upload=UploadSettings(
                pack_size=conf.worker.pack_size,
                concurrency=conf.worker.upload_concurrency,
                readers=conf.worker.reader_threads,
            ),
            snapshot_ttl=conf.worker.snapshot_ttl,
            head_room_percent=conf.worker.head_room_percent,
            state_dir=directory,
        ),
    )
    tasks = Tasks(work, spawn)
    reporter = Reporter(
        node,
        ConductorClient(transport),
        tasks,
        work.release,
        worker_id=identity.worker_id,
        node_control=conf.cassandra.node_control,
        interval=conf.worker.heartbeat_interval,
        head_room_percent=conf.worker.head_room_percent,
    )
    server = make_server(transport, WORKER_TOPIC, identity.worker_id, WorkerEndpoint(tasks))
    LOG.info("this is worker %s", identity.worker_id)
    return WorkerService(server, reporter)
