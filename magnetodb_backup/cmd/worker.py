# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-worker: works on one Cassandra node."""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import logging
import sys
from pathlib import Path
from typing import Any

from oslo_config import cfg

from magnetodb_backup.cassandra.control import service_commands, sstableloader
from magnetodb_backup.cassandra.cql import node as cql
from magnetodb_backup.cassandra.scratch import scratch as scratch_cassandra
from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.messaging.bus import WORKER_TOPIC, make_server, make_transport
from magnetodb_backup.messaging.conductor import ConductorClient
from magnetodb_backup.messaging.worker import WorkerEndpoint
from magnetodb_backup.plugins.loading import load_node_control
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.worker.compose import (
    NodeParts,
    WorkerSettings,
    compose_worker,
)
from magnetodb_backup.worker.heartbeat import ReportSettings
from magnetodb_backup.worker.identity import WorkerIdentity
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.remembered import NodeMemory
from magnetodb_backup.worker.service import WorkerService

LOG = logging.getLogger(__name__)


def make_worker(conf: cfg.ConfigOpts, transport: Any, storage: StorageDriver) -> WorkerService:
    """Compose a worker for the local Cassandra node."""
    directory = parts.state_dir(conf)
    identity = WorkerIdentity(directory)
    node = LocalNode(
        lambda: cql.from_conf(conf),
        load_node_control(conf),
        expected_host_id=conf.cassandra.host_id or "",
        configured_directories=conf.cassandra.data_directories,
        memory=NodeMemory(directory / "node.json"),
    )
    scratch = scratch_cassandra.from_conf(conf, cql.without_login, directory)
    scratch.sweep()  # nobody else ends what a worker that died has started
    worker = compose_worker(
        NodeParts(
            node,
            storage,
            sstableloader.from_conf(conf),
            service_commands.from_conf(conf),
            scratch,
        ),
        ConductorClient(transport),
        _settings(conf, directory),
        ReportSettings(
            worker_id=identity.worker_id,
            node_control=conf.cassandra.node_control,
            interval=conf.worker.heartbeat_interval,
            head_room_percent=conf.worker.head_room_percent,
        ),
    )
    server = make_server(transport, WORKER_TOPIC, identity.worker_id, WorkerEndpoint(worker.tasks))
    LOG.info("this is worker %s", identity.worker_id)
    return WorkerService(server, worker.reporter)


def _settings(conf: cfg.ConfigOpts, state_dir: Path) -> WorkerSettings:
    return WorkerSettings(
        prefix=conf.storage.prefix,
        state_dir=state_dir,
        upload=UploadSettings(
            pack_size=conf.worker.pack_size,
            concurrency=conf.worker.upload_concurrency,
            readers=conf.worker.reader_threads,
        ),
        download=DownloadSettings(concurrency=conf.worker.download_concurrency),
        fingerprints_concurrency=conf.worker.fingerprints_concurrency,
        snapshot_ttl=conf.worker.snapshot_ttl,
        head_room_percent=conf.worker.head_room_percent,
        scratch_room=conf.scratch.room,
        staging_max_age=conf.worker.staging_max_age,
        verify_rate=parts.byte_rate(conf, "worker", "verify_rate"),
    )


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    service = make_worker(conf, make_transport(conf), parts.open_storage(conf))
    process.run([service], conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
