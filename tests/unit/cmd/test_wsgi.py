# SPDX-License-Identifier: Apache-2.0
"""The WSGI callable in another server's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from magnetodb_backup.database import connect
from magnetodb_backup.domain.backup.records import BackupRequest
from tests.lab.processes import wait_for

IDS = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"]
# The server says on which port it listens; the kernel chose it.
_SERVER = """
from wsgiref.simple_server import make_server
from magnetodb_backup.cmd.wsgi import application
server = make_server("127.0.0.1", 0, application)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "api.conf"
    path.write_text(
        "[DEFAULT]\ntransport_url = fake://\n"
        f"[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n"
    )
    return path


def start(*files: Path) -> subprocess.Popen[str]:
    """Start wsgiref with the application, its configuration named by the environment."""
    names = ";".join(str(file) for file in files)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        env={**os.environ, "OS_MAGNETODB_BACKUP_CONFIG_FILES": names},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def url(file: Path, tmp_path: Path) -> Iterator[str]:
    database = connect(f"sqlite:///{tmp_path}/db.sqlite")
    database.sync()
    for backup_id in IDS:
        database.backups.create(BackupRequest({"type": "all"}), backup_id, "Test Cluster")
    database.close()
    more = tmp_path / "more.conf"
    more.write_text("[api]\nmax_limit = 1\n")
    server = start(file, more)
    try:
        assert server.stdout is not None
        port = wait_for(server.stdout.readline, deadline=30, what="the server's port")
        yield f"http://127.0.0.1:{port.strip()}"
    finally:
        server.kill()
        server.communicate()


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_application_serves_what_its_files_say(url: str) -> None:
    assert get(f"{url}/healthcheck")[0] == 200
    code, body = get(f"{url}/v1/backups?sort=created_at")
    page = json.loads(body)
    assert (code, [b["id"] for b in page["backups"]]) == (200, IDS[:1])
    code, body = get(url + page["links"][0]["href"])
    assert [b["id"] for b in json.loads(body)["backups"]] == IDS[1:]
    assert get(f"{url}/v1/backups/{IDS[1]}")[0] == 200
    assert get(f"{url}/v1/backups/absent")[0] == 404


def test_a_database_that_was_not_made_is_told_with_the_remedy(file: Path) -> None:
    server = start(file)
    told = "".join(server.communicate(timeout=60))
    assert server.returncode != 0
    assert "run magnetodb-backup-manage db sync" in told
