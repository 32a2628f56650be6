# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-worker: works on one Cassandra node."""

from __future__ import annotations

import logging
import sys
from typing import Any

from oslo_config import cfg

from magnetodb_backup.cassandra.control import service_commands as cassandra_process
from magnetodb_backup.cassandra.control import sstableloader as bulk_loader
from magnetodb_backup.cassandra.cql import node as cql
from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.messaging.bus import WORKER_TOPIC, make_server, make_transport
from magnetodb_backup.messaging.conductor import ConductorClient
from magnetodb_backup.messaging.worker import WorkerEndpoint
from magnetodb_backup.plugins.loading import load_node_control
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.upload.upload import UploadSettings
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.worker.backup.fingerprints import FigureWork
from magnetodb_backup.worker.backup.work import BackupWork, WorkSettings
from magnetodb_backup.worker.heartbeat import Reporter
from magnetodb_backup.worker.identity import WorkerIdentity
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.remembered import NodeMemory
from magnetodb_backup.worker.restore.build_and_repair import ViewWork
from magnetodb_backup.worker.restore.import_ import ImportWork
from magnetodb_backup.worker.restore.offline import OfflineWork
from magnetodb_backup.worker.restore.preflight import RestoreSettings, RestoreWork
from magnetodb_backup.worker.restore.queue import Turns
from magnetodb_backup.worker.restore.schema import SchemaWork
from magnetodb_backup.worker.restore.stream import StreamWork
from magnetodb_backup.worker.service import WorkerService, spawn
from magnetodb_backup.worker.tasks import Tasks

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
    restoring = RestoreWork(
        node,
        storage,
        RestoreSettings(
            prefix=conf.storage.prefix,
            download=DownloadSettings(concurrency=conf.worker.download_concurrency),
            head_room_percent=conf.worker.head_room_percent,
        ),
    )
    figures = FigureWork(
        node,
        storage,
        prefix=conf.storage.prefix,
        state_dir=directory,
        concurrency=conf.worker.figures_concurrency,
    )
    schema = SchemaWork(node, storage, conf.storage.prefix)
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
        {
            **Turns().one_by_one(
                {
                    **restoring.handlers(),
                    **ImportWork(node).handlers(),
                    **schema.handlers(),
                    **StreamWork(node, bulk_loader.from_conf(conf)).handlers(),
                    **ViewWork(node).handlers(),
                    **OfflineWork(node, cassandra_process.from_conf(conf)).handlers(),
                }
            ),
            **figures.handlers(),
        },
    )
    tasks = Tasks(work, spawn)
    reporter = Reporter(
        node,
        ConductorClient(transport),
        tasks,
        work.release,
        restoring.remove_staging,
        worker_id=identity.worker_id,
        node_control=conf.cassandra.node_control,
        interval=conf.worker.heartbeat_interval,
        head_room_percent=conf.worker.head_room_percent,
    )
    server = make_server(transport, WORKER_TOPIC, identity.worker_id, WorkerEndpoint(tasks))
    LOG.info("this is worker %s", identity.worker_id)
    return WorkerService(server, reporter)


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    service = make_worker(conf, make_transport(conf), parts.open_storage(conf))
    process.run([service], conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
