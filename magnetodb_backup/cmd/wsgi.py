# SPDX-License-Identifier: Apache-2.0
"""The WSGI callable ``application`` for uwsgi, gunicorn or mod_wsgi.

Configuration files come from the usual places, or from OS_MAGNETODB_BACKUP_CONFIG_FILES
(separated by semicolons).
"""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import os

from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.cmd.api import make_application
from magnetodb_backup.messaging.bus import make_transport

_files = os.environ.get("OS_MAGNETODB_BACKUP_CONFIG_FILES", "")
_conf = configuration.load([f"--config-file={name}" for name in _files.split(";") if name])
configuration.set_up_logging(_conf)
_database = parts.open_database(_conf)
_database.check()
_database.close()  # a server that forks after this must not share a connection
application = make_application(_conf, _database, make_transport(_conf))
