# SPDX-License-Identifier: Apache-2.0
"""magnetodb-backup-api, and the WSGI callable for other servers."""

from __future__ import annotations

import magnetodb_backup.cmd.threading_backend  # noqa: F401 - before oslo_messaging

# isort: split
import ipaddress
import sys
import threading
from typing import Any

from cheroot import wsgi
from oslo_config import cfg
from oslo_policy import policy

from magnetodb_backup.api.app import create_app
from magnetodb_backup.api.policies import list_rules
from magnetodb_backup.cmd import configuration, parts, process
from magnetodb_backup.cmd.requests import make_requests
from magnetodb_backup.database import Database
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.messaging.bus import make_transport


def make_application(conf: cfg.ConfigOpts, database: Database, transport: Any) -> Any:
    """Compose the WSGI application."""
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    return create_app(
        database=database,
        requests=make_requests(conf, database, transport),
        enforcer=enforcer,
        version=configuration.version(),
        max_limit=conf.api.max_limit,
        host_names=conf.api.host_names,
    )


class ApiService:
    """Serves the application by cheroot's threads."""

    def __init__(self, application: Any, host: str, port: int, threads: int) -> None:
        self._where = f"{host}:{port}"
        self._server = wsgi.Server((host, port), application, numthreads=threads)

    def start(self) -> None:
        """Listen and serve.

        :raises InvalidValue: if the address cannot be listened on.
        """
        try:
            self._server.prepare()
        except OSError as error:
            raise InvalidValue(
                f"cannot listen on {self._where} ({error}); set [api] host and port"
            ) from None
        threading.Thread(target=self._server.serve, name="api", daemon=True).start()

    def stop(self) -> None:
        """Close the socket, and end when running requests are answered."""
        self._server.stop()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def make_api_service(conf: cfg.ConfigOpts, database: Database, transport: Any) -> ApiService:
    """Compose the API and its server.

    :raises InvalidValue: if it would serve other machines without authentication.
    """
    if not (conf.api.noauth_remote or _is_loopback(conf.api.host)):
        raise InvalidValue(
            f"[api] host {conf.api.host} can be reached by other machines, and with auth_strategy "
            "noauth every caller is an administrator; set host to 127.0.0.1, or noauth_remote to "
            "true"
        )
    application = make_application(conf, database, transport)
    return ApiService(application, conf.api.host, conf.api.port, conf.api.threads)


def _run() -> None:
    conf = configuration.load(sys.argv[1:])
    configuration.set_up_logging(conf)
    database = parts.open_database(conf)
    database.check()
    process.run([make_api_service(conf, database, make_transport(conf))], conf)


def main() -> None:
    """Entry point; exits with 1 on an error, 2 on a bad configuration."""
    sys.exit(configuration.guarded(_run))
