# SPDX-License-Identifier: Apache-2.0
"""The documentation names commands and states that exist."""

from __future__ import annotations

import pytest

from magnetodb_backup.cli.app import ManageApp
from magnetodb_backup.domain.restore.records import Existing, RestorePhase
from magnetodb_backup.domain.restore.table_states import table_states
from tests.lab.documents import DOCUMENTS, console_lines
from tests.unit.cli.test_app import failing

_MANAGE = "magnetodb-backup-manage"
_FOUND = {
    str(path.relative_to(DOCUMENTS)): [
        typed.words
        for typed in console_lines(path.read_text())
        if typed.words[0] == _MANAGE and "--config-file" not in typed.words
    ]
    for path in sorted(DOCUMENTS.rglob("*.rst"))
}


@pytest.mark.parametrize("document", [name for name, lines in _FOUND.items() if lines])
def test_every_command_line_is_understood(document: str) -> None:
    app = ManageApp(failing(AssertionError("nothing is run")))
    for _, *arguments in _FOUND[document]:
        factory, name, rest = app.command_manager.find_command(arguments)
        assert name in dict(app.command_manager), arguments
        factory(app, None, cmd_name=name).get_parser(name).parse_args(rest)


def test_commands_are_found() -> None:
    assert len(_FOUND["admin/disaster-recovery.rst"]) > 20
    assert len(_FOUND["user/index.rst"]) > 10


def test_every_state_of_a_table_is_explained() -> None:
    text = (DOCUMENTS / "admin" / "disaster-recovery.rst").read_text()
    section = text.partition("A restore failed\n=")[2]
    assert section
    states = {
        state
        for phase in RestorePhase
        for existing in Existing
        for existed in (True, False)
        for refused in ({}, {"k.t": ["nb-1-big"]})
        for done in ([], [RestorePhase.IMPORT.value])
        for state in table_states(
            ["k.t"],
            phase=phase.value,
            done=done,
            existing=existing,
            existed={"k.t": existed},
            refused=refused,
        ).values()
    }
    kinds = {state.partition(":")[0].partition(" nb-")[0] for state in states}
    assert len(kinds) == 7
    for kind in kinds:
        assert f"* - ``{kind}" in section
