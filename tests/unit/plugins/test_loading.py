# SPDX-License-Identifier: Apache-2.0
"""Plugins are found by name, those of other distributions too; wrong ones are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import loading
from oslo_config import cfg

from magnetodb_backup.cassandra.control.jolokia import JolokiaControl
from magnetodb_backup.cassandra.control.nodetool import NodetoolControl
from magnetodb_backup.conf import opts
from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.plugins.loading import (
    check_plugins,
    load_node_control,
    load_scope,
    load_storage,
)
from magnetodb_backup.scopes.all_keyspaces import AllKeyspaces
from magnetodb_backup.scopes.keyspaces import Keyspaces
from magnetodb_backup.scopes.tables import Tables
from magnetodb_backup.storage.filesystem import FilesystemDriver
from magnetodb_backup.storage.swift import SwiftDriver


def conf_of(**values: str) -> cfg.ConfigOpts:
    """Return options with ``group_option`` set."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    opts.register(conf)
    for name, value in values.items():
        group, _, option = name.partition("_")
        conf.set_override(option, value, group)
    return conf


@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        ({"type": "all"}, AllKeyspaces),
        ({"type": "keyspaces", "keyspaces": ["ks"]}, Keyspaces),
        ({"type": "tables", "tables": ["ks.t"]}, Tables),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_the_scopes_of_the_project(scope: dict[str, Any], kind: type) -> None:
    before = dict(scope)
    assert isinstance(load_scope(scope), kind)
    assert scope == before


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ({}, "a scope needs a type, for example all, keyspaces or tables"),
        ({"type": None}, "a scope needs a type"),
        ({"type": ["all"]}, "a scope needs a type"),
        ({"type": "every"}, "'every' is not a scope type; installed: all, keyspaces, tables"),
        ({"type": "all", "keyspaces": []}, "remove keyspaces"),
    ],
    ids=str,
)
def test_wrong_scopes_are_told(scope: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        load_scope(scope)
    assert reason in str(raised.value)


def test_the_storage_drivers_of_the_project(tmp_path: Path) -> None:
    conf = conf_of(storage_driver="filesystem", filesystem_path=str(tmp_path))
    driver = load_storage(conf)
    assert isinstance(driver, FilesystemDriver)
    driver.ensure_container("c")
    assert (tmp_path / "c").is_dir()


def test_swift_is_made_from_its_options() -> None:
    conf = conf_of(storage_driver="swift", swift_auth_type="v1password")
    conf.register_opts(loading.get_auth_plugin_conf_options("v1password"), group="swift")
    for option in ("auth_url", "username", "password"):
        conf.set_override(option, "http://127.0.0.1:9/", "swift")
    assert isinstance(load_storage(conf), SwiftDriver)


@pytest.mark.parametrize(
    ("name", "kind"), [("nodetool", NodetoolControl), ("jolokia", JolokiaControl)]
)
def test_the_node_controls_of_the_project(name: str, kind: type) -> None:
    control = load_node_control(conf_of(cassandra_node_control=name))
    assert isinstance(control, kind)
    control.close()


@pytest.mark.parametrize("load", [load_storage, check_plugins])
def test_an_unknown_storage_driver_is_told_by_its_option(
    load: Callable[[cfg.ConfigOpts], object],
) -> None:
    with pytest.raises(InvalidValue) as raised:
        load(conf_of(storage_driver="s3"))
    assert str(raised.value) == (
        "'s3' is not a storage driver ([storage] driver); installed: filesystem, swift"
    )


@pytest.mark.parametrize("load", [load_node_control, check_plugins])
def test_an_unknown_node_control_is_told_by_its_option(
    load: Callable[[cfg.ConfigOpts], object],
) -> None:
    with pytest.raises(InvalidValue) as raised:
        load(conf_of(cassandra_node_control="ssh"))
    assert str(raised.value) == (
        "'ssh' is not a node control ([cassandra] node_control); installed: jolokia, nodetool"
    )


_OTHER = """
class Mine:
    def __init__(self, parameters):
        self.parameters = parameters
    def select(self, catalogue):
        return sorted(self.parameters)
"""
_POINTS = """
[magnetodb_backup.scopes]
mine = other_scopes:Mine
broken = other_scopes.absent:Scope
"""


def _with_another_distribution(tmp_path: Path, expression: str) -> str:
    """Evaluate in a process that has a distribution with two scopes, and return what it tells."""
    information = tmp_path / "other_scopes-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other-scopes\nVersion: 1\n")
    (information / "entry_points.txt").write_text(_POINTS)
    (tmp_path / "other_scopes.py").write_text(_OTHER)
    code = (
        "from magnetodb_backup.plugins.loading import load_scope\n"
        f"try: print({expression})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_a_scope_of_another_distribution_gets_the_parameters(tmp_path: Path) -> None:
    expression = "load_scope({'type': 'mine', 'owner': 'me', 'since': 3}).select(None)"
    assert _with_another_distribution(tmp_path, expression) == "['owner', 'since']\n"


def test_a_plugin_that_cannot_be_imported_is_told_with_the_reason(tmp_path: Path) -> None:
    told = _with_another_distribution(tmp_path, "load_scope({'type': 'broken'})")
    assert told.startswith("InvalidValue scope type 'broken' cannot be loaded: ModuleNotFoundError")
    assert "other_scopes" in told


def test_a_plugin_that_cannot_be_imported_does_not_keep_the_others(tmp_path: Path) -> None:
    told = _with_another_distribution(tmp_path, "load_scope({'type': 'every'})")
    assert "installed: all, keyspaces, mine, tables" in told
