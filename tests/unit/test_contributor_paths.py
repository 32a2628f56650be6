# SPDX-License-Identifier: Apache-2.0
"""The contributor's pages name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.documents import DOCUMENTS

_TOP = DOCUMENTS.parents[1]
_ROOTS = (_TOP, _TOP / "magnetodb_backup", _TOP / "tests")
_PATH = re.compile(r"``((?:[a-z_]+/)+(?:[A-Za-z_]+\.(?:py|rst|sh|json))?)``")


@pytest.mark.parametrize(
    "page", sorted((DOCUMENTS / "contributor").glob("*.rst")), ids=lambda p: str(p.name)
)
def test_named_files_exist(page: Path) -> None:
    named = set(_PATH.findall(page.read_text()))
    assert [path for path in sorted(named) if not any((r / path).exists() for r in _ROOTS)] == []
