# SPDX-License-Identifier: Apache-2.0
"""What a conductor is composed of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from oslo_config import cfg

from magnetodb_backup.cmd import configuration
from magnetodb_backup.cmd.conductor import make_conductor
from magnetodb_backup.messaging.bus import make_transport
from magnetodb_backup.storage.memory import MemoryDriver
from tests.lab.catalogue import catalogue


def _compose(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.conf"
    file.write_text(f"[DEFAULT]\nstate_dir = {tmp_path}\n{text}")
    conf = configuration.load([f"--config-file={file}"], cfg.ConfigOpts())
    with catalogue(tmp_path) as database:
        make_conductor(conf, database, make_transport(conf, "fake://"), MemoryDriver)


def test_option_of_the_former_leases_is_reported_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _compose(tmp_path, "[coordination]\nbackend_url = mysql://lease:open-sesame@host/db\n")
    warned = r"\[coordination\] backend_url is ignored: .* database; remove the option"
    assert re.search(warned, caplog.text)
    assert "sesame" not in caplog.text
    assert not (tmp_path / "leases").exists()


def test_nothing_is_reported_where_the_option_is_not_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _compose(tmp_path, "")
    assert "coordination" not in caplog.text
