# SPDX-License-Identifier: Apache-2.0
"""Conductors in this process that share a cluster's database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from magnetodb_backup.conductor.loop import ConductorService, JobLoop
from magnetodb_backup.conductor.ownership import Ownership
from tests.unit.conductor.cluster import Cluster


class Server:
    """A server without requests."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")

    def stop(self) -> None:
        self.log.append("stop")

    def wait(self) -> None:
        self.log.append("wait")


class Conductor:
    """A conductor in this process; ``timeout`` in seconds is that of its ownership."""

    def __init__(self, cluster: Cluster, name: str, timeout: float, **settings: Any) -> None:
        self.stopping = threading.Event()
        self.server = Server()
        cluster.stopping = self.stopping
        self.loop = JobLoop(
            cluster.database,
            Ownership(cluster.database, name, timeout=timeout),
            settings.pop("runner", None) or cluster.runner(),
            name=name,
            stopping=self.stopping,
            **{"poll_interval": 0.02, "concurrent_jobs": 4, **settings},
        )
        self.service = ConductorService(self.server, {"job-loop": self.loop}, self.stopping)
        self.service.start()

    def stop(self) -> None:
        self.service.stop()


Start = Callable[..., Conductor]
