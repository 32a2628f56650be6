# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-conductor: runs the jobs."""

from __future__ import annotations

import sys

from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.messaging.bus import make_transport


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    database = parts.open_database(conf)
    database.check()
    storage = parts.open_storage(conf)
    service = parts.make_conductor(conf, database, make_transport(conf), lambda: storage)
    process.run([service], conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
