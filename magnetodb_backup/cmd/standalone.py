# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-standalone: conductor, worker and API in one process, for one node.

The bus is in memory, the database is SQLite unless another one is configured.
"""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import sys

from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.cmd.api import make_api_service
from magnetodb_backup.cmd.conductor import make_conductor
from magnetodb_backup.cmd.worker import make_worker
from magnetodb_backup.messaging.bus import make_transport


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    database = parts.open_database(conf)
    database.sync()
    storage = parts.open_storage(conf)
    transport = make_transport(conf, "fake://")
    services: list[process.Service] = [
        make_conductor(conf, database, transport, lambda: storage),
        make_worker(conf, transport, storage),
        make_api_service(conf, database, transport),
    ]
    process.run(services, conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
