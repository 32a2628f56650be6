# SPDX-License-Identifier: Apache-2.0
"""The options of the storage drivers."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from magnetodb_backup.conf import filesystem, storage, swift
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.storage.filesystem import from_conf as make_filesystem
from magnetodb_backup.storage.swift import from_conf as make_swift


def _conf(tmp_path: Path, text: str) -> cfg.ConfigOpts:
    file = tmp_path / "x.conf"
    file.write_text(text)
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(file)], default_config_dirs=[])
    for module in (storage, filesystem):
        conf.register_opts(module.OPTS, group=module.GROUP)
    swift.register(conf)
    return conf


def test_swift_from_a_file(tmp_path: Path) -> None:
    conf = _conf(
        tmp_path,
        "[swift]\nauth_url = http://127.0.0.1:9/v3\nusername = me\npassword = secret\n"
        "storage_url = http://127.0.0.1:9/v1/AUTH_me/\n",
    )
    assert make_swift(conf).account_url() == "http://127.0.0.1:9/v1/AUTH_me"
    assert conf.swift.auth_type == "password"


@pytest.mark.parametrize("name", ["nonsense", "v1password"])
def test_wrong_or_incomplete_plugins_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidValue, match=r"\[swift\].*(nonsense|auth_url|auth-url)"):
        make_swift(_conf(tmp_path, f"[swift]\nauth_type = {name}\n"))


def test_filesystem_from_a_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    make_filesystem(_conf(tmp_path, f"[filesystem]\npath = {root}\n")).ensure_container("c")
    assert (root / "c").is_dir()


def test_sample_names_each_option_once_and_the_password_is_secret() -> None:
    names = [option.dest for option in swift.list_opts()]
    assert len(names) == len(set(names))
    assert {"auth_type", "password", "cafile", "username", "region_name"} <= set(names)
    assert [o.secret for o in swift.list_opts() if o.dest == "password"] == [True]


@pytest.mark.parametrize("prefix", ["", "a/b", ".x", "a b", "ä"])
def test_odd_prefixes_are_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="match regex"):
        _conf(tmp_path, "").set_override("prefix", prefix, "storage")
