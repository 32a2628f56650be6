# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-worker: works on one Cassandra node."""

from __future__ import annotations

import sys

from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.messaging.bus import make_transport


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    service = parts.make_worker(conf, make_transport(conf), parts.open_storage(conf))
    process.run([service], conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
