# SPDX-License-Identifier: Apache-2.0
"""The commands in doc/source/reference/format.rst bring a file back, as they are printed there."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from urllib.parse import quote

from tests.lab.rig import PREFIX, Rig

_PAGE = Path(__file__).resolve().parents[2] / "doc" / "source" / "reference" / "format.rst"


def _commands(**values: str) -> str:
    """Return the page's commands, with other values for the variables of its example."""
    section = _PAGE.read_text().split("Restoring a file by hand")[1]
    block = re.search(r"code-block:: bash\n\n((?:   .*\n|\n)+)", section)
    assert block
    text = dedent(block[1])
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=\S+", f"{name}={value}", text, flags=re.M)
        assert count == 1, name
    return text


def test_commands_of_the_documentation(sample: Rig, tmp_path: Path) -> None:
    backup = sample.created("--table", "shop.orders")
    content = sample.reader.content(backup["id"])
    (host_id, _, path), expected = next(
        (key, body) for key, body in content.items() if key[2].endswith("-Data.db")
    )
    name = path.rpartition("/")[2]
    container = f"{PREFIX}.{quote(sample.cluster.name)}"
    commands = _commands(
        cluster=container, in_url=quote(container), backup=backup["id"], host=host_id, name=name
    )
    store = sample.reader.store
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={**os.environ, "TOKEN": store.token, "STORE": store.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / name).read_bytes() == expected
    assert hashlib.sha256(expected).hexdigest() in result.stdout
    for node in backup["nodes"]:
        assert f"{node['host_id']} {node['address']}" in result.stdout
