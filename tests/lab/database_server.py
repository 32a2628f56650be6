# SPDX-License-Identifier: Apache-2.0
"""What the database servers of the tests share."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from tests.lab.ports import free_port
from tests.lab.processes import ManagedProcess, wait_for


class DatabaseServer(ABC):
    """User ``lab`` owns everything; its password is made up for each start of the tests.

    ``scheme`` is SQLAlchemy's; ``not_ready`` what the client raises while nobody answers.
    """

    scheme: ClassVar[str]
    not_ready: ClassVar[type[Exception]]
    process: ManagedProcess

    def __init__(self, address: str) -> None:
        self.address, self.port = address, free_port(address)
        self.password = secrets.token_hex(16)

    @abstractmethod
    def _install(self) -> None:
        """Make the server's own tables where there are none."""

    @abstractmethod
    def _connect(self) -> Any:
        """Return a connection of the client."""

    def start(self) -> None:
        """Start, where need be on an empty disk, and wait until it takes connections."""
        self._install()
        self.process.start()

        def ready() -> bool:
            self.process.check_alive()
            try:
                self._connect().close()
            except self.not_ready:
                return False
            return True

        wait_for(ready, deadline=90, what=self.process.name, interval=0.2)

    def url(self, database: str, *, password: str | None = None) -> str:
        """Return the SQLAlchemy URL of a database."""
        secret = password or self.password
        return f"{self.scheme}://lab:{secret}@{self.address}:{self.port}/{database}"
