# SPDX-License-Identifier: Apache-2.0
"""What the processes are built of, from configurations that cannot work too."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.cmd.api import ApiService, make_api_service
from magnetodb_backup.errors import AccessDenied, InvalidValue
from tests.lab.catalogue import catalogue
from tests.lab.ports import free_port, listens


def conf_of(tmp_path: Path, text: str = "") -> cfg.ConfigOpts:
    """Return a configuration with the filesystem store and a state directory of its own."""
    file = tmp_path / "x.conf"
    store = tmp_path / "store"
    store.mkdir()
    file.write_text(
        f"[DEFAULT]\nstate_dir = {tmp_path}/state/dir\n"
        f"[storage]\ndriver = filesystem\n[filesystem]\npath = {store}\n{text}"
    )
    return configuration.load([f"--config-file={file}"], cfg.ConfigOpts())


def test_the_state_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    directory = parts.state_dir(conf_of(tmp_path))
    assert directory == tmp_path / "state" / "dir"
    assert stat.S_IMODE(directory.stat().st_mode) & 0o007 == 0


def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    conf = conf_of(tmp_path)
    (tmp_path / "state").write_text("a file")
    with pytest.raises(AccessDenied, match=rf"state_dir {tmp_path}/state/dir cannot be made"):
        parts.state_dir(conf)


def test_the_database_lies_in_the_state_directory_unless_it_is_named(tmp_path: Path) -> None:
    conf = conf_of(tmp_path)
    parts.open_database(conf).close()
    assert (tmp_path / "state" / "dir" / "magnetodb-backup.sqlite").exists()
    conf.set_override("connection", f"sqlite:///{tmp_path}/named.sqlite", "database")
    parts.open_database(conf).close()
    assert (tmp_path / "named.sqlite").exists()


def test_the_store_is_the_configured_one(tmp_path: Path) -> None:
    driver = parts.open_storage(conf_of(tmp_path))
    driver.ensure_container("c")
    driver.put("c", "o", b"", size=0, md5="d41d8cd98f00b204e9800998ecf8427e")
    assert (tmp_path / "store" / "c" / "o").exists()
    driver.close()


def _nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


def test_the_api_listens_until_it_is_stopped() -> None:
    port = free_port("127.0.0.1")
    service = ApiService(_nothing, "127.0.0.1", port, threads=1)
    service.start()
    assert listens("127.0.0.1", port)
    service.stop()
    assert not listens("127.0.0.1", port)


def test_an_address_that_is_taken_is_told() -> None:
    port = free_port("127.0.0.1")
    first = ApiService(_nothing, "127.0.0.1", port, threads=1)
    first.start()
    try:
        second = ApiService(_nothing, "127.0.0.1", port, threads=1)
        with pytest.raises(InvalidValue, match=rf"127\.0\.0\.1:{port} .*set \[api\] host and port"):
            second.start()
    finally:
        first.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "backup.example", "::"])
def test_the_api_does_not_serve_other_machines_without_authentication(
    tmp_path: Path, host: str
) -> None:
    file = tmp_path / "x.conf"
    file.write_text(f"[api]\nhost = {host}\n")
    conf = configuration.load([f"--config-file={file}"], cfg.ConfigOpts())
    with catalogue(tmp_path) as database, pytest.raises(InvalidValue, match="noauth_remote") as why:
        make_api_service(conf, database, None)
    assert f"[api] host {host}" in str(why.value)
