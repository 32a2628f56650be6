# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-conductor: runs the jobs."""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import logging
import os
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.conductor.definition import (
    BuildBounds,
    CollectionSettings,
    RunnerSettings,
)
from magnetodb_backup.conductor.loop import ConductorService, JobLoop, Loop
from magnetodb_backup.conductor.ownership import Ownership
from magnetodb_backup.conductor.pruning import Pruner, PruningSettings
from magnetodb_backup.conductor.runner import JobRunner
from magnetodb_backup.conductor.schedules import ScheduleLoop
from magnetodb_backup.conductor.settings import SettingLoop
from magnetodb_backup.database import Database
from magnetodb_backup.messaging.bus import CONDUCTOR_TOPIC, make_server, make_transport
from magnetodb_backup.messaging.conductor import ConductorEndpoint
from magnetodb_backup.messaging.endings import TaskEndings
from magnetodb_backup.messaging.worker import WorkerClient
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)
_SHORTEST_LEASE = 60.0  # seconds


def _process_name() -> str:
    """Return a name that is unique to this process: host and process ID."""
    return f"{socket.gethostname()}:{os.getpid()}"


def make_conductor(
    conf: cfg.ConfigOpts,
    database: Database,
    transport: Any,
    storage: Callable[[], StorageDriver],
) -> ConductorService:
    """Compose a conductor."""
    if conf.coordination.backend_url:
        LOG.warning(
            "[coordination] backend_url is ignored: conductors share the jobs by the service's own "
            "database; remove the option"
        )
    name, stopping, endings = _process_name(), threading.Event(), TaskEndings()
    settings = RunnerSettings(
        prefix=conf.storage.prefix,
        poll_interval=conf.conductor.poll_interval,
        worker_timeout=conf.conductor.worker_timeout,
        outage_deadline=conf.conductor.outage_deadline,
        rounds=conf.conductor.snapshot_rounds,
        builds=BuildBounds(
            conf.conductor.build_stall_timeout, longest=conf.conductor.build_timeout
        ),
        stall_deadline=conf.conductor.stall_deadline,
        undelete_period=conf.conductor.undelete_period,
        collection=CollectionSettings(
            grace=conf.conductor.collect_grace,
            lease=max(_SHORTEST_LEASE, 10 * conf.conductor.poll_interval),
        ),
    )
    loop = JobLoop(
        database,
        Ownership(database, f"{uuid.uuid4()}@{name}", timeout=conf.conductor.ownership_timeout),
        JobRunner(database, WorkerClient(transport, name, endings), storage, settings, stopping),
        name=name,
        poll_interval=conf.conductor.poll_interval,
        concurrent_jobs=conf.conductor.concurrent_jobs,
        stopping=stopping,
    )
    pruning = PruningSettings(
        conf.conductor.prune_steps_after,
        conf.conductor.prune_jobs_after,
        conf.conductor.prune_workers_after,
    )
    loop.also(Pruner(database, pruning).look)
    schedules = ScheduleLoop(
        database, loop.wake, interval=conf.conductor.schedule_interval, stopping=stopping
    )

    copies = SettingLoop(
        database, storage, prefix=conf.storage.prefix, interval=conf.conductor.schedule_interval,
        stopping=stopping,
    )  # fmt: skip

    def wake() -> None:
        for each in (loop, schedules, copies):
            each.wake()

    endpoint = ConductorEndpoint(loop.take_report, loop.ended_restores, wake, endings)
    server = make_server(transport, CONDUCTOR_TOPIC, name, endpoint)
    loops: dict[str, Loop] = {"job-loop": loop, "schedules": schedules, "copies": copies}
    return ConductorService(server, loops, stopping)


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    database = parts.open_database(conf)
    database.check()
    storage = parts.open_storage(conf)
    service = make_conductor(conf, database, make_transport(conf), lambda: storage)
    process.run([service], conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
