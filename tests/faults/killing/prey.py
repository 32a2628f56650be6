# SPDX-License-Identifier: Apache-2.0
"""What the random killer hunts: a deployment with a database server and an API of its own.

Its workers and conductor reach the database and RabbitMQ through relays that can cut them off.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.lab.deployment import Deployment
from tests.lab.gate import Gate
from tests.lab.keystone import Keystone
from tests.lab.mariadb import MariaDB
from tests.lab.ports import free_port
from tests.lab.processes import ManagedProcess, wait_for
from tests.lab.reader import Reader
from tests.lab.rig import Rig, keystone_options

_PREFIX = "prey"
_OUTAGE = 180  # seconds that the conductor waits for parts that are away
# Seconds; so short that deleted backups are purged and packs removed while others are killed.
_UNDELETE, _GRACE = 5, 3


@dataclass(frozen=True)
class Api:
    """The REST API, as a client sees it."""

    url: str
    process: ManagedProcess

    def call(self, path: str, body: Any = None) -> Any:
        """Return the answer's body; None where it is an error or none comes."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except (OSError, HTTPException):
            return None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process.start()
        wait_for(
            lambda: self.call("/") is not None,
            deadline=60,
            what=f"the API\n{self.process.tail()}",
        )


@dataclass(frozen=True)
class Prey:
    """``rig`` has the deployment; ``wires`` lead to RabbitMQ and to the database."""

    rig: Rig
    api: Api
    database: MariaDB
    wires: dict[str, Gate]

    def heal(self) -> None:
        """Bring everything back that was killed."""
        for wire in self.wires.values():
            wire.clear()
        self.database.process.resume()
        self.database.start()
        self.api.process.resume()
        self.rig.heal()
        self.rig.cluster.wait_whole()
        self.api.start()


@contextmanager
def prey_on(rig: Rig, keystone: Keystone, directory: Path, address: str) -> Iterator[Prey]:
    """Run in the place of the rig's own deployment: a node has one worker."""
    with ExitStack() as stack:
        database = MariaDB(directory / "mariadb.log", address=address)
        stack.callback(database.stop)
        database.start()
        direct = database.create_database()
        wires = {
            "database": Gate(address, (database.address, database.port)),
            "rabbitmq": Gate(address, (rig.rabbitmq.address, rig.rabbitmq.port)),
        }
        for wire in wires.values():
            stack.callback(wire.stop)
        port = free_port(address)
        deployment = Deployment(
            directory,
            {
                "DEFAULT": {
                    "transport_url": _through(
                        wires["rabbitmq"], rig.rabbitmq.add_virtual_host(directory.name)
                    )
                },
                "database": {"connection": _through(wires["database"], direct)},
                "storage": {"driver": "swift", "prefix": _PREFIX},
                "swift": keystone_options(keystone, "ProxyRegion"),
                "conductor": {
                    "outage_deadline": _OUTAGE,
                    "undelete_period": _UNDELETE,
                    "collect_grace": _GRACE,
                },
                "api": {"host": address, "port": port},
            },
            rig.cluster.nodes,
            database=direct,
        )
        api = Api(f"http://{address}:{port}", deployment.program("api"))
        reader = Reader(rig.reader.store, _PREFIX, rig.cluster.name)
        stack.callback(deployment.stop)
        stack.callback(api.process.stop)
        deployment.start()
        api.start()
        yield Prey(replace(rig, deployment=deployment, reader=reader), api, database, wires)


def _through(wire: Gate, url: str) -> str:
    """Return a server's URL with the relay in its place."""
    host = make_url(url).set(host=wire.address, port=wire.port)
    return host.render_as_string(hide_password=False)
