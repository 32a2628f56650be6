# SPDX-License-Identifier: Apache-2.0
"""The options as a whole: documented, sound by default, secrets secret."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

import magnetodb_backup.conf
from magnetodb_backup.conf import opts

LISTED = [(group, option) for group, options in opts.list_opts() for option in options]
OURS = [(group, option) for group, option in LISTED if group != "swift"]


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    return conf


def _modules() -> Iterator[Any]:
    for module in pkgutil.iter_modules(magnetodb_backup.conf.__path__):
        if module.name != "opts":
            yield import_module(f"magnetodb_backup.conf.{module.name}")


def test_every_module_is_registered_and_listed(conf: cfg.ConfigOpts) -> None:
    groups = {group for group, _ in opts.list_opts()}
    for module in _modules():
        # Options of earlier releases are known, but not offered in the sample.
        assert (module.GROUP in groups) is (module.GROUP != "coordination")
        scope = conf if module.GROUP == "DEFAULT" else conf[module.GROUP]
        assert all(option.dest in scope for option in module.OPTS)


def test_groups_and_options_are_listed_once() -> None:
    groups = [group for group, _ in opts.list_opts()]
    names = [(group, option.dest) for group, option in LISTED]
    assert len(set(groups)) == len(groups)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("group", "option"), LISTED, ids=lambda v: getattr(v, "dest", v))
def test_every_option_is_explained(group: str, option: Any) -> None:
    assert option.help
    if group != "swift":
        assert option.help.rstrip().endswith(".")


@pytest.mark.parametrize(("group", "option"), OURS, ids=lambda v: getattr(v, "dest", v))
def test_defaults_are_valid_values(conf: cfg.ConfigOpts, group: str, option: Any) -> None:
    scope = conf if group == "DEFAULT" else conf[group]
    value = getattr(scope, option.dest)
    if value is not None:
        conf.set_override(option.dest, value, None if group == "DEFAULT" else group)


def test_registering_twice_is_no_error(conf: cfg.ConfigOpts) -> None:
    opts.register(conf)
    assert conf.storage.driver == "swift"


def test_only_byte_rates_change_at_run_time() -> None:
    assert [(g, o.dest) for g, o in LISTED if o.mutable] == [
        ("storage", "bytes_per_second"),
        ("worker", "verify_rate"),
    ]


def test_a_default_of_the_api_is_reached_from_this_host_alone(conf: cfg.ConfigOpts) -> None:
    assert (conf.api.host, conf.api.auth_strategy) == ("127.0.0.1", "noauth")


def test_a_worker_may_miss_a_few_reports_by_default(conf: cfg.ConfigOpts) -> None:
    assert conf.conductor.worker_timeout >= 3 * conf.worker.heartbeat_interval


def test_secrets_are_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "x.conf"
    file.write_text(
        "[cassandra]\npassword = open-sesame\n[jolokia]\npassword = open-sesame\n"
        "[coordination]\nbackend_url = mysql://lease:open-sesame@host/db\n"
        "[cassandra]\nusername = visible\n"
    )
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], default_config_files=[str(file)], default_config_dirs=[])
    assert conf.jolokia.password == "open-sesame"
    with caplog.at_level(logging.INFO):
        conf.log_opt_values(logging.getLogger("test"), logging.INFO)
    assert "visible" in caplog.text
    assert "sesame" not in caplog.text


@pytest.mark.parametrize("name", ["password", "secret"])
def test_what_may_hold_a_secret_is_marked(name: str) -> None:
    found = [o for _, o in LISTED if o.dest == name or o.dest.endswith(f"_{name}")]
    assert found
    assert all(option.secret for option in found)
