# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration; warnings are errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import magnetodb_backup.api
from magnetodb_backup.domain.status import TRANSITIONS

project = "magnetodb-backup"
copyright = "magnetodb-backup contributors"
extensions = [
    "cliff.sphinxext",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "reno.sphinxext",
]
html_theme = "alabaster"
version = release = "0.1.0"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _states() -> str:
    rows = [
        (f"``{old.value}``", event, f"``{new.value}``")
        for old, transitions in TRANSITIONS.items()
        for event, new in transitions.items()
    ]
    return _table(("State", "What happens", "Next state"), rows)


def _api() -> str:
    document = json.loads((Path(magnetodb_backup.api.__file__).parent / "openapi.json").read_text())
    rows = [
        (f"``{method.upper()} {path}``", operation["summary"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    return _table(("Request", "What it does"), rows)


def setup(app: Any) -> None:
    """Write the tables that are made from code."""
    made = Path(app.srcdir) / "reference"
    (made / "states.inc").write_text(_states())
    (made / "api.inc").write_text(_api())
