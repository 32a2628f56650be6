# SPDX-License-Identifier: Apache-2.0
"""A private RabbitMQ on loopback, from Debian's package, as the current user."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import amqp

from tests.lab.ports import free_port
from tests.lab.processes import ManagedProcess, wait_for

_SCRIPTS = Path("/usr/lib/rabbitmq/bin")


class RabbitMQ:
    """User and password are made up for each start of the tests."""

    def __init__(self, directory: Path, *, address: str) -> None:
        if not (_SCRIPTS / "rabbitmq-server").exists():
            raise RuntimeError("rabbitmq-server is not installed; run tools/bootstrap.sh test")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.address, self.port = address, free_port(address)
        self._password = secrets.token_hex(16)
        configuration = directory / "rabbitmq.conf"
        configuration.write_text(
            f"listeners.tcp.1 = {address}:{self.port}\ndefault_user = lab\n"
            f"default_pass = {self._password}\nloopback_users = none\nlog.console = true\n"
            "log.console.level = warning\nvm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        configuration.chmod(0o600)
        (directory / "enabled_plugins").write_text("[].\n")
        self._environment = {
            "HOME": str(directory),
            "RABBITMQ_NODENAME": f"lab{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_DIST_PORT": str(free_port(address)),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_PORT": str(free_port("127.0.0.1")),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
        }
        self.process = ManagedProcess(
            "rabbitmq",
            [str(_SCRIPTS / "rabbitmq-server")],
            log=directory / "server.log",
            env=self._environment,
            cwd=directory,
        )

    @property
    def transport_url(self) -> str:
        return self.url("/")

    def url(self, virtual_host: str) -> str:
        """Return oslo.messaging's URL of a virtual host."""
        return (
            f"rabbit://lab:{self._password}@{self.address}:{self.port}/{virtual_host.lstrip('/')}"
        )

    def add_virtual_host(self, name: str) -> str:
        """Make a virtual host and return its URL."""
        for command in (
            ["add_vhost", name],
            ["set_permissions", "-p", name, "lab", ".*", ".*", ".*"],
        ):
            subprocess.run(
                [str(_SCRIPTS / "rabbitmqctl"), *command],
                env={**os.environ, **self._environment},
                check=True,
                capture_output=True,
                timeout=60,
            )
        return self.url(name)

    def start(self) -> None:
        """Start and wait until it takes connections."""
        self.process.start()

        def ready() -> bool:
            self.process.check_alive()
            try:
                connection = amqp.Connection(
                    f"{self.address}:{self.port}", "lab", self._password, connect_timeout=2
                )
                connection.connect()
                connection.close()
            except (OSError, amqp.AMQPError):
                return False
            return True

        wait_for(ready, deadline=120, what="RabbitMQ", interval=0.3)

    def stop(self) -> None:
        self.process.stop(20)
        # The port mapper is a daemon of its own, here one that only this server uses.
        subprocess.run(
            ["epmd", "-port", self._environment["ERL_EPMD_PORT"], "-kill"], capture_output=True
        )

    def kill(self) -> None:
        self.process.kill()

    def heal(self) -> None:
        self.process.resume()
        self.start()
