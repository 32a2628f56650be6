# SPDX-License-Identifier: Apache-2.0
"""A real Swift on loopback: proxy, account, container and object server, one process each."""

from __future__ import annotations

import base64
import os
import pwd
import subprocess
import urllib.request
from functools import partial
from pathlib import Path

from tests.lab.artifacts import swift_environment
from tests.lab.ports import free_port
from tests.lab.processes import ManagedProcess, stop_all, wait_for

_HERE = Path(__file__).parent / "launched"  # apart: its modules must not hide others
_BACKENDS = ("account", "container", "object")
_MODULES = {
    "account": "swift.account.server",
    "container": "swift.container.server",
    "object": "swift.obj.server",
    "proxy": "swift.proxy.server",
}
_KEYSTONE_FILTERS = """
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {url}
auth_url = {url}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = swift
password = swiftpass
delay_auth_decision = True
cache = swift.cache
include_service_catalog = False

[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
reseller_prefix = KEY_
"""


class Swift:
    """Users: tempauth's ``test:tester``/``testing``, and Keystone's where ``keystone`` is given.

    ``keystone`` is Keystone's URL with ``/v3``.
    """

    def __init__(self, directory: Path, *, address: str, keystone: str = "") -> None:
        self.address, self._keystone = address, keystone
        self._etc, self.data_directory = directory / "etc", directory / "data"
        self._log = directory / "log"
        self.port = free_port(address)
        self._ports = {server: free_port(address) for server in _BACKENDS}
        self._python = swift_environment() / "bin" / "python"
        for made in (self._etc, self._log, self.data_directory / "d1", directory / "recon"):
            made.mkdir(parents=True, exist_ok=True)
        self._recon = directory / "recon"
        self._check_attributes()
        self._configure()
        self.processes = [self._process(server) for server in (*_BACKENDS, "proxy")]

    @property
    def auth_v1_url(self) -> str:
        return f"http://{self.address}:{self.port}/auth/v1.0"

    def start(self) -> None:
        """Start what does not run and wait until all answer."""
        for process in self.processes:
            process.start()
        for process, port in zip(self.processes, (*self._ports.values(), self.port), strict=True):
            wait_for(
                partial(self._healthy, process, port),
                deadline=60,
                what=process.name,
            )

    def stop(self) -> None:
        stop_all(self.processes)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def pause(self) -> None:
        for process in self.processes:
            process.pause()

    def resume(self) -> None:
        for process in self.processes:
            process.resume()

    def heal(self) -> None:
        """Bring everything back that a test stopped."""
        self.resume()
        self.start()

    def _healthy(self, process: ManagedProcess, port: int) -> bool:
        process.check_alive()
        try:
            with urllib.request.urlopen(
                f"http://{self.address}:{port}/healthcheck", timeout=5
            ) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _process(self, server: str) -> ManagedProcess:
        return ManagedProcess(
            f"swift {server}",
            [
                str(self._python), str(_HERE / "swift_launcher.py"), str(self._etc / "swift.conf"),
                _MODULES[server], str(self._etc / f"{server}-server.conf"), "verbose",
            ],
            log=self._log / f"{server}.log",
            env={"PYTHONPATH": str(_HERE), "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip

    def _check_attributes(self) -> None:
        probe = self.data_directory / ".probe"
        probe.touch()
        try:
            os.setxattr(probe, "user.swift.metadata", b"x" * 1000)
        except OSError as error:
            raise RuntimeError(
                f"{self.data_directory}: no user extended attributes ({error.strerror}); use ext4, "
                "xfs, btrfs, or set TMPDIR to such a file system"
            ) from None
        probe.unlink()

    def _configure(self) -> None:
        (self._etc / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_prefix = lab\nswift_hash_path_suffix = lab\n"
            "[storage-policy:0]\nname = gold\ndefault = yes\n"
        )
        for server, port in self._ports.items():
            daemons = {
                "account": "[account-replicator]\n[account-auditor]\n[account-reaper]\n",
                "container": "[container-replicator]\n[container-updater]\n[container-auditor]\n"
                "[container-sync]\n",
                "object": "[object-replicator]\n[object-updater]\n[object-auditor]\n",
            }[server]
            self._write(
                server,
                port,
                f"devices = {self.data_directory}\nmount_check = false\n"
                f"disable_fallocate = true\nfallocate_reserve = 0\n"
                f"recon_cache_path = {self._recon}\n"
                f"[pipeline:main]\npipeline = healthcheck {server}-server\n"
                f"[app:{server}-server]\nuse = egg:swift#{server}\n"
                f"[filter:healthcheck]\nuse = egg:swift#healthcheck\n{daemons}",
            )
            self._ring(server, port)
        self._write("proxy", self.port, self._proxy())

    def _write(self, server: str, port: int, text: str) -> None:
        user = pwd.getpwuid(os.getuid()).pw_name
        path = self._etc / f"{server}-server.conf"
        path.write_text(
            f"[DEFAULT]\nswift_dir = {self._etc}\nuser = {user}\nbind_ip = {self.address}\n"
            f"bind_port = {port}\nworkers = 0\nlog_level = INFO\n{text}"
        )
        path.chmod(0o600)

    def _proxy(self) -> str:
        key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        keystone = "authtoken keystoneauth " if self._keystone else ""
        pipeline = (
            "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk "
            f"{keystone}tempauth copy container-quotas slo dlo versioned_writes symlink "
            "proxy-logging proxy-server"
        )
        filters = _KEYSTONE_FILTERS.format(url=self._keystone) if self._keystone else ""
        return f"""
[pipeline:main]
pipeline = {pipeline}

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
conn_timeout = 5
node_timeout = 60
client_timeout = 60
error_suppression_interval = 0
error_suppression_limit = 1000

[filter:cache]
paste.filter_factory = swift_cache:filter_factory

[filter:proxy-logging]
use = egg:swift#proxy_logging

[filter:tempauth]
use = egg:swift#tempauth
fernet_key_lab = {key}
active_fernet_key_id = lab
user_test_tester = testing .admin
user_test_reader = reading

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
{filters}
""" + "".join(
            f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n"
            for name in (
                "catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "copy",
                "container-quotas", "slo", "dlo", "symlink",
            )
        )  # fmt: skip

    def _ring(self, server: str, port: int) -> None:
        tool = [
            str(self._python.parent / "swift-ring-builder"),
            str(self._etc / f"{server}.builder"),
        ]
        place = ["--region", "1", "--zone", "1", "--ip", self.address, "--port", str(port)]
        for command in (
            ["create", "4", "1", "0"],
            ["add", *place, "--device", "d1", "--weight", "1"],
            ["rebalance", "1"],
        ):
            subprocess.run([*tool, *command], check=True, capture_output=True)
