# SPDX-License-Identifier: Apache-2.0
"""A real Keystone on loopback, on SQLite."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from tests.lab.artifacts import keystone_environment, once
from tests.lab.ports import free_port
from tests.lab.processes import ManagedProcess, wait_for

_HERE = Path(__file__).parent / "launched"  # apart: its modules must not hide others
_CONFIGURATION = """[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{home}/keystone.db
[fernet_tokens]
key_repository = {home}/fernet-keys
[fernet_receipts]
key_repository = {home}/fernet-keys
[credential]
key_repository = {home}/credential-keys
[token]
provider = fernet
expiration = {expiration}
[cache]
enabled = false
[identity]
password_hash_rounds = 4
"""


def _configure(home: Path, expiration: int) -> Path:
    path = home / "keystone.conf"
    path.write_text(_CONFIGURATION.format(home=home, expiration=expiration))
    return path


def _template(home: Path) -> None:
    """Make a bootstrapped database and keys, once per machine: it takes ten seconds."""
    user = getpass.getuser()
    manage = [str(keystone_environment() / "bin" / "keystone-manage")]
    manage += ["--config-file", str(_configure(home, 3600))]
    owner = ["--keystone-user", user, "--keystone-group", user]
    for command in (
        ["db_sync"],
        ["fernet_setup", *owner],
        ["credential_setup", *owner],
        ["bootstrap", "--bootstrap-password", "adminpass", "--bootstrap-region-id", "RegionOne"],
    ):
        subprocess.run([*manage, *command], check=True, capture_output=True, timeout=300)


class Keystone:
    """Users: ``demo``/``demopass`` may store, ``nobody``/``nobodypass`` has another role."""

    def __init__(self, directory: Path, *, address: str, token_expiration: int = 86400) -> None:
        template = once("keystone-database-1", _template)
        shutil.copytree(template, directory, dirs_exist_ok=True)
        os.chmod(directory, 0o700)
        configuration = _configure(directory, token_expiration)
        self.address, self.port = address, free_port(address)
        self.auth_url = f"http://{address}:{self.port}/v3"
        self._token = ""
        self.process = ManagedProcess(
            "keystone",
            [
                str(keystone_environment() / "bin" / "python"), str(_HERE / "keystone_server.py"),
                str(configuration), address, str(self.port),
            ],
            log=directory / "keystone.log",
            env={"PYTHONWARNINGS": "ignore"},
        )  # fmt: skip

    def start(self) -> None:
        """Start and make the users."""
        self.process.start()

        def ready() -> bool:
            self.process.check_alive()
            try:
                with urllib.request.urlopen(self.auth_url, timeout=5):
                    return True
            except OSError:
                return False

        wait_for(ready, deadline=60, what="keystone")
        self._token = self._authenticate()
        roles = {r["name"]: r["id"] for r in self._call("GET", "/roles")["roles"]}
        member, other = roles["member"], roles["reader"]
        service = self._make("projects", "service")
        demo = self._make("projects", "demo")
        for name, project, role in (
            ("swift", service, roles["admin"]),
            ("demo", demo, member),
            ("nobody", demo, other),
        ):
            user = self._make("users", name, password=f"{name}pass")
            self._call("PUT", f"/projects/{project}/users/{user}/roles/{role}")
        self._store = self._make("services", "swift", type="object-store")
        identity = self._make("services", "keystone", type="identity")
        self._register(identity, "RegionOne", self.auth_url)

    def register_store(self, region: str, port: int, address: str) -> None:
        """Put an object store's endpoint into the catalogue."""
        if region != "RegionOne":
            self._call("POST", "/regions", {"region": {"id": region}})
        self._register(self._store, region, f"http://{address}:{port}/v1/KEY_%(project_id)s")

    def _register(self, service: str, region: str, url: str) -> None:
        for interface in ("public", "internal", "admin"):
            endpoint = {
                "interface": interface, "service_id": service, "region_id": region, "url": url,
            }  # fmt: skip
            self._call("POST", "/endpoints", {"endpoint": endpoint})

    def stop(self) -> None:
        self.process.stop()

    def _authenticate(self) -> str:
        user = {"name": "admin", "domain": {"id": "default"}, "password": "adminpass"}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }
        }
        request = urllib.request.Request(
            f"{self.auth_url}/auth/tokens",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.headers["X-Subject-Token"])

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.auth_url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "X-Auth-Token": self._token},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _make(self, kind: str, name: str, **values: Any) -> str:
        if kind != "services":
            values["domain_id"] = "default"
        one = kind.removesuffix("s")
        return str(self._call("POST", f"/{kind}", {one: {"name": name, **values}})[one]["id"])
