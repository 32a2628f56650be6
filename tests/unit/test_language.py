# SPDX-License-Identifier: Apache-2.0
"""Documentation, docstrings, messages and help texts avoid phrases that are hard to read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.documents import DOCUMENTS

_PACKAGE = DOCUMENTS.parents[1] / "magnetodb_backup"
# A program returns, reports, logs, refuses or waits; the acting thing is named.
_PHRASES = re.compile(
    r"\b(?:(?:tells?|told|nobody|somebody|anew|whatever|whoever|of before|will do|goes on|go on|"
    r"lies? (?:in|beside|below)|hears?|at most so long|but for|for people)\b"
    r"|as it is(?: now)?(?=[.,;:\"]|$))",
    re.I,
)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the string literals of a module, docstrings included, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _found(text: str) -> list[str]:
    return sorted({found[0].lower() for found in _PHRASES.finditer(" ".join(text.split()))})


def _modules() -> list[str]:
    return sorted(str(p.relative_to(_PACKAGE)) for p in _PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", _modules())
def test_strings_of_a_module(name: str) -> None:
    wrong = [
        f"line {line}: {', '.join(phrases)}"
        for line, text in _texts(_PACKAGE / name)
        if (phrases := _found(text))
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sorted(DOCUMENTS.rglob("*.rst")), ids=lambda p: str(p.name))
def test_pages_of_the_documentation(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), start=1)
    assert [f"line {n}: {line}" for n, line in lines if _found(line)] == []


def test_the_readme_and_the_samples() -> None:
    top = DOCUMENTS.parents[1]
    for path in (top / "README.rst", _PACKAGE / "api" / "openapi.json"):
        assert _found(path.read_text()) == [], path


def test_phrases_are_found() -> None:
    assert _found("the worker\ntells nobody that it goes on") == ["goes on", "nobody", "tells"]
