# SPDX-License-Identifier: Apache-2.0
"""The live list: steps with their states; per node rate, remaining time and what is re-used."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from magnetodb_backup.cli.messages import complain
from magnetodb_backup.cli.progress import LiveList, NodeProgress, make_display, of_node_backup
from magnetodb_backup.cli.steps import State
from magnetodb_backup.domain.backup.records import Progress
from tests.unit.cli.conftest import Terminal
from tests.unit.domain.samples import NODE_BACKUP

STEPS = {"census": "find all nodes", "upload": "upload what the store lacks", "commit": "write"}
NODE = of_node_backup(
    replace(
        NODE_BACKUP,
        progress=Progress(bytes_total=4_000_000, bytes_done=1_000_000, bytes_reused=600_000),
    )
)


class Screen:
    """A terminal whose last picture is read."""

    def __init__(self, height: int = 40) -> None:
        self.now, self.height = 100.0, height
        self.list = LiveList(self._console(), "Backup x", STEPS, clock=lambda: self.now)
        self.list.close()  # this class draws

    def _console(self) -> Console:
        return Console(
            file=io.StringIO(), force_terminal=True, width=100, height=self.height, record=True
        )

    def look(
        self, phase: str, *nodes: NodeProgress, ended: State | None = None, seconds: float = 0
    ) -> list[str]:
        self.now += seconds
        self.list.show("x", phase, nodes, ended)
        console = self._console()
        console.print(self.list.picture())
        return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_steps_have_state_and_time(screen: Screen) -> None:
    screen.look("census")
    lines = screen.look("upload", seconds=2)
    lines = screen.look("upload", seconds=65)
    assert [" ".join(line.split()) for line in lines] == [
        "Backup x",
        "census find all nodes done 2.0 s",
        "upload upload what the store lacks running 1 min 5 s",
        "commit write to do",
    ]


def test_a_node_has_rate_remaining_time_and_what_is_reused(screen: Screen) -> None:
    screen.look("upload", replace(NODE, bytes_done=0))
    for done in (500_000, 1_000_000):
        screen.list.show("x", "upload", [replace(NODE, bytes_done=done)], None)
    (line,) = [line for line in screen.look("upload", NODE) if "10.0.0.1" in line]
    assert "1.0/4.0 MB" in line
    assert "B/s" in line
    assert "600.0 kB re-used" in line
    assert ":" in line.partition("B/s")[2]


@pytest.mark.parametrize("phase", ["failed", "missing"])
def test_a_node_without_a_share_says_so(screen: Screen, phase: str) -> None:
    lines = screen.look("upload", replace(NODE, phase=phase))
    assert any("10.0.0.1" in line and phase in line for line in lines)


def test_all_nodes_together(screen: Screen) -> None:
    other = replace(NODE, host_id="h2", address="10.0.0.2", phase="done", bytes_done=4_000_000)
    lines = screen.look("upload", NODE, other)
    assert any("10.0.0.2" in line for line in lines)
    (line,) = [line for line in lines if line.startswith("  all nodes")]
    assert "5.0/8.0 MB" in line
    assert "1 of 2 done" in line


def test_a_thousand_nodes_fit_those_that_work_first() -> None:
    screen = Screen(height=24)
    nodes = [
        replace(NODE, host_id=f"h{i}", address=f"n{i:04}", phase="done" if i < 995 else "upload")
        for i in range(1000)
    ]
    lines = screen.look("upload", *nodes)
    assert len(lines) <= 24
    assert all(any(f" n{i:04} " in line for line in lines) for i in range(995, 1000))
    assert any("995 of 1000 done" in line for line in lines)
    (more,) = [line for line in lines if "more nodes" in line]
    assert more == f"  and {1000 - sum(' n0' in line for line in lines)} more nodes"


@pytest.mark.parametrize("end", [State.DONE, State.FAILED, State.CANCELLED])
def test_the_end(screen: Screen, end: State) -> None:
    lines = screen.look("upload", NODE, ended=end)
    assert any("upload what" in line and end.value in line for line in lines)
    assert any("commit" in line and (end is State.DONE) == ("done" in line) for line in lines)


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_terminal_that_cannot_draw_gets_lines(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", terminal)
    display = make_display("Backup x", STEPS)
    display.show("x", "upload", [NODE], None)
    display.close()
    out = terminal.getvalue()
    line = "10.0.0.1: 0 of 0 files, 1.0 MB of 4.0 MB, 0 bytes uploaded, 600.0 kB re-used\n"
    assert (line in out) == (term == "dumb")
    assert ("\x1b" in out) == (term == "xterm")


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (io.StringIO(), "error: CREATE_FAILED: [red]why[/red]\n"),
        (Terminal(), "\x1b[1;31merror: CREATE_FAILED: [red]why[/red]\x1b[0m\n"),
    ],
    ids=["file", "terminal"],
)
def test_complaints_have_colour_on_a_terminal_only(
    stream: io.StringIO, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    complain("error", "CREATE_FAILED: [red]why[/red]")
    assert stream.getvalue() == text
