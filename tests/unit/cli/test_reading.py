# SPDX-License-Identifier: Apache-2.0
"""How far the reading of manifests is, on a terminal and elsewhere."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest
from rich.console import Console

from magnetodb_backup.cli.reading import ReadingBar, ReadingLines, make_reading
from tests.unit.cli.conftest import Terminal


def test_a_bar_has_count_and_total() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    bar = ReadingBar(console, clock=lambda: 0.0)
    bar.begin("a [b]", 3)
    bar.advance()
    bar.note("a [note]")
    bar.advance()
    bar.advance()
    bar.close()
    text = console.export_text()
    assert "a [note]" in text
    assert "cluster a [b]" in text
    assert "3/3 manifests" in text


def test_lines_of_many_are_few() -> None:
    err = io.StringIO()
    with redirect_stderr(err):
        lines = ReadingLines()
        lines.begin("c", 10_000)
        for _ in range(2_500):
            lines.advance()
        lines.close()
    assert err.getvalue() == "1000 of 10000 manifests read\n2000 of 10000 manifests read\n"


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (Terminal(), "xterm", ReadingBar),
        (Terminal(), "dumb", ReadingLines),
        (io.StringIO(), "xterm", ReadingLines),
    ],
)
def test_what_suits_standard_error(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, term: str, kind: type[object]
) -> None:
    monkeypatch.setenv("TERM", term)
    with redirect_stderr(stream):
        reading = make_reading()
        reading.close()
    assert type(reading) is kind
