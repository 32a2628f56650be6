# SPDX-License-Identifier: Apache-2.0
"""A program that records how it was called and answers as it is told."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_PROGRAM = """\
#!{python} -IS
import json, subprocess, sys, time
here = {here!r}
with open(here + "/calls", "a") as calls:
    calls.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + "\\n")
answer = json.load(open(here + "/answer"))
sys.stdout.buffer.write(answer["out"].encode(errors="surrogateescape"))
sys.stdout.flush()
sys.stderr.write(answer["err"])
if answer["seconds"]:
    subprocess.call(["sh", "-c", "sleep " + str(answer["seconds"]), here])
sys.exit(answer["code"])
"""


@dataclass(frozen=True)
class Answer:
    """What the program prints, how long its child sleeps, and its exit code."""

    out: str = ""
    err: str = ""
    code: int = 0
    seconds: float = 0


class FakeNodetool:
    """The program and its records."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "node tool"  # a shell would stumble over the blank
        self.path.write_text(_PROGRAM.format(python=sys.executable, here=str(directory)))
        self.path.chmod(0o700)
        self.answer(Answer())

    def answer(self, answer: Answer) -> None:
        (self._directory / "answer").write_text(json.dumps(asdict(answer)))

    def calls(self) -> list[list[str]]:
        """Return the arguments of all calls."""
        records = self._directory / "calls"
        if not records.exists():
            return []
        return [json.loads(line)[0] for line in records.read_text().splitlines()]

    def processes(self) -> list[int]:
        """Return the process IDs of programs and children that still run."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if bytes(self._directory) in command:
                found.append(int(entry.name))
        return found
