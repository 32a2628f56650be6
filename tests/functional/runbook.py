# SPDX-License-Identifier: Apache-2.0
"""Types what the runbook for disasters says; only names that stand for others are put in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.lab.deployment import Deployment
from tests.lab.documents import DOCUMENTS, console_lines
from tests.lab.rig import Rig

_RUNBOOK = DOCUMENTS / "admin" / "disaster-recovery.rst"


def lines_by_section() -> Mapping[str, Sequence[str]]:
    """Return the command lines of each section that has some."""
    found: dict[str, list[str]] = {}
    for typed in console_lines(_RUNBOOK.read_text()):
        found.setdefault(typed.section, []).append(typed.line)
    return found


@dataclass(frozen=True)
class Runbook:
    """Types the runbook's commands; ``names`` are put in for words of them."""

    rig: Rig
    deployment: Deployment
    names: Mapping[str, str]

    def follow(self, section: str, before: Callable[[str], None] = lambda line: None) -> None:
        """Run a section's commands, each of which must succeed; ``before`` hears of each."""
        for line in lines_by_section()[section]:
            for name, value in self.names.items():
                line = re.sub(rf"\b{name}\b", value, line)
            before(line)
            program, *arguments = shlex.split(line)
            _PROGRAMS[program](self, arguments)

    def manage(self, arguments: Sequence[str]) -> None:
        outcome = self.deployment.manage(*arguments, timeout=900, json=False)
        # The store of these tests may hold what other tests have damaged, and 3 says so.
        right = (0, 3) if arguments[0] == "catalogue" else (0,)
        assert outcome.code in right, f"{arguments}\n{outcome.out}{outcome.err}"

    def cqlsh(self, arguments: Sequence[str]) -> None:
        option, statement = arguments
        assert option == "-e"
        with self.rig.cluster.session() as session:
            rows = session.execute(statement).all()
        assert rows or not statement.startswith("SELECT"), statement


_PROGRAMS: Mapping[str, Callable[[Runbook, Sequence[str]], None]] = {
    "magnetodb-backup-manage": Runbook.manage,
    "cqlsh": Runbook.cqlsh,
}


def follow(section: str, rig: Rig, **names: str) -> dict[str, Any]:
    """Run a section's commands; return the record of the newest restore."""
    Runbook(rig, rig.deployment, names).follow(section)
    (newest,) = rig.deployment.manage("restore", "list", "--limit", "1").json
    record: dict[str, Any] = rig.deployment.manage("restore", "show", newest["id"]).json
    return record
