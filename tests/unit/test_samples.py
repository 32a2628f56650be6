# SPDX-License-Identifier: Apache-2.0
"""The samples in etc that are written by hand fit the programs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

_ETC = Path(__file__).parents[2] / "etc"
_LOG = "/var/log/magnetodb-backup"


def test_every_service_has_a_unit() -> None:
    scripts = {e.name for e in entry_points(group="console_scripts")}
    programs = {name for name in scripts if name.startswith("magnetodb-backup-")}
    units = {path.stem: path.read_text() for path in _ETC.glob("systemd/*.service")}
    assert set(units) == programs - {"magnetodb-backup-manage"}
    for name, text in units.items():
        assert re.findall("^ExecStart=(.*)$", text, re.M) == [f"/opt/magnetodb-backup/bin/{name}"]
        # What the configuration and the sample for logging name by default must be writable.
        assert {"StateDirectory=magnetodb-backup", "LogsDirectory=magnetodb-backup"} <= set(
            text.splitlines()
        )


def test_the_sample_for_logging_works(tmp_path: Path) -> None:
    sample = (_ETC / "logging.conf.sample").read_text()
    assert _LOG in sample
    logging = tmp_path / "logging.conf"
    logging.write_text(sample.replace(_LOG, str(tmp_path)))
    file = tmp_path / "x.conf"
    file.write_text(
        f"[DEFAULT]\nlog_config_append = {logging}\nstate_dir = {tmp_path}\n"
        "[storage]\ndriver = filesystem\n"
    )
    code = (
        "import logging; from magnetodb_backup.cmd import configuration\n"
        f"configuration.set_up_logging(configuration.load(['--config-file={file}']))\n"
        "logging.getLogger('magnetodb_backup.worker').info('ours')\n"
        "logging.getLogger('library').info('its chatter')\n"
        "logging.getLogger('library').warning('its warning')"
    )
    argv = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    told = (tmp_path / "magnetodb-backup.log").read_text()
    assert "INFO magnetodb_backup.worker" in told
    assert "ours" in told
    assert "its warning" in result.stderr
    assert "its chatter" not in told + result.stderr
