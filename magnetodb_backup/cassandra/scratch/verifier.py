# SPDX-License-Identifier: Apache-2.0
"""Runs Cassandra's offline verifier (sstableverify) on SSTables below a scratch directory.

It opens each SSTable, reads its index, filter and statistics, compares the digest, and parses each
row. It needs the schema that a scratch Cassandra has left on disk, and no running Cassandra.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from magnetodb_backup.cassandra.scratch.configuration import VERIFYING
from magnetodb_backup.cassandra.scratch.installation import Installation
from magnetodb_backup.cassandra.scratch.process import RECORD, ScratchProcess
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import ScratchFailed

_VERIFIER = "org.apache.cassandra.tools.StandaloneVerifier"
_NAME = re.compile(r"(?:^|/)([a-z]{2}-[0-9a-z_]+-[a-z]+)(?=[-'\s:)]|$)")
_ACCEPTED = re.compile(r"Verify of .* succeeded\. All \d+ rows read successfully")
_REFUSED = re.compile(r"Error (?:Loading|verifying) .*")
_CAUSE = re.compile(r"Caused by: (?:[\w.$]+\.)?(?P<what>[\w$]+(?:: .*)?)")
_TELLING = re.compile(r"Error |WARN|succeeded|Exception|Caused by|Unrecognized|Unknown|OutOfMemory")
_OPAQUE = "Invalid SSTable"  # a message without a reason
_KEPT = 400  # lines
_EXPLAINED = 10  # SSTables of one run whose causes are looked for
_TAIL = 800  # characters of the output in an error
_SIGNALLED = 128


@dataclass(frozen=True)
class _Run:
    """The exit code of a run, and the lines of its output that say something."""

    code: int
    lines: list[str]


@dataclass
class _Output:
    """What one run printed: its first lines that say something, and its last ones."""

    first: list[str] = field(default_factory=list)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def collect(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            if not _TELLING.search(line) or "have been deprecated" in line:
                continue
            (self.first if len(self.first) < _KEPT else self.last).append(line)

    def lines(self) -> list[str]:
        return [*self.first, *self.last]


class Verifier:
    """Verifies the SSTables of one scratch directory; ``timeout`` in seconds for one run."""

    def __init__(self, installation: Installation, home: Path, timeout: float) -> None:
        self._installation, self._home, self._timeout = installation, home, timeout

    def verify(
        self,
        table: TableName,
        directory: Path,
        sstables: Sequence[str],
        raise_if_cancelled: Callable[[], None],
    ) -> dict[str, str]:
        """Verify ``sstables`` in ``directory``; return Cassandra's message for each refused one.

        :raises ScratchFailed: if the verifier cannot be run, or is killed.
        """

        def run(names: Sequence[str], *options: str) -> _Run:
            with self._only(directory, names):
                return self._run(table, options, raise_if_cancelled)

        refused = _judge(list(sstables), run)
        opaque = [name for name, message in refused.items() if _OPAQUE in message]
        for name in opaque[:_EXPLAINED]:
            if cause := _cause(run([name], "--debug").lines):
                refused[name] = cause
        return {name: text.replace(f"{directory}/", "") for name, text in refused.items()}

    @contextmanager
    def _only(self, directory: Path, names: Sequence[str]) -> Iterator[None]:
        """Keep only the files of some SSTables in a directory meanwhile."""
        kept, parked = set(names), self._home / "parked"
        parked.mkdir(mode=0o700, exist_ok=True)
        others = [path for path in directory.iterdir() if sstable_in(path.name) not in kept]
        for path in others:
            path.rename(parked / path.name)
        try:
            yield
        finally:
            for path in others:
                (parked / path.name).rename(path)

    def _run(
        self, table: TableName, options: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> _Run:
        conf = self._home / "conf"
        properties = {
            "cassandra.config": f"file://{conf / VERIFYING}",
            "cassandra.storagedir": str(self._home),
            "cassandra.logdir": str(self._home),
            "logback.configurationFile": f"file://{conf / 'logback-tools.xml'}",
        }
        command = self._installation.command(
            self._home / f"{RECORD}-verifier", conf, properties,
            _VERIFIER, "--force", "--extended", *options, *table,
        )  # fmt: skip
        raise_if_cancelled()
        process, output = ScratchProcess(command, self._home, subprocess.PIPE), _Output()
        assert process.output is not None
        reader = threading.Thread(target=output.collect, args=(process.output,), daemon=True)
        reader.start()
        try:
            code = process.wait(self._timeout, raise_if_cancelled)
        finally:
            process.end()
            reader.join()
            process.output.close()
        if code is None:
            raise ScratchFailed(
                f"the verifier of {table} has not ended after {self._timeout:g} s; see [scratch] "
                "verify_timeout"
            )
        if code < 0 or code > _SIGNALLED:
            number = -code if code < 0 else code - _SIGNALLED
            raise ScratchFailed(
                f"the verifier of {table} was killed by signal {number}; see the kernel's log, and "
                "[scratch] heap"
            )
        return _Run(code, output.lines())


def sstable_in(text: str) -> str:
    """Return the name of the SSTable (``nb-1-big``) in a file name or a message, or nothing."""
    found = _NAME.search(text)
    return found[1] if found else ""


def _judge(left: list[str], run: Callable[[Sequence[str]], _Run]) -> dict[str, str]:
    """Run the verifier until each SSTable is accepted or refused."""
    refused: dict[str, str] = {}
    while left:
        result = run(left)
        accepted, found = _verdicts(result.lines, left)
        refused |= found
        undecided = [name for name in left if name not in accepted and name not in found]
        if not found and undecided:
            if result.code == 0:
                return refused | dict.fromkeys(undecided, "a component of it is missing")
            if len(undecided) == 1:
                return refused | {undecided[0]: _end_of(result)}
            for name in undecided:
                refused |= _judge([name], run)
            return refused
        left = undecided  # one that cannot be opened ends the verifier before the others
    return refused


def _verdicts(lines: Iterable[str], names: Sequence[str]) -> tuple[set[str], dict[str, str]]:
    accepted: set[str] = set()
    refused: dict[str, str] = {}
    for line in lines:
        name = sstable_in(line)
        if name not in names:
            continue
        if _ACCEPTED.search(line):
            accepted.add(name)
        elif error := _REFUSED.search(line):
            refused.setdefault(name, error[0])
    return accepted, refused


def _cause(lines: Iterable[str]) -> str:
    """Return the innermost cause that stack traces show, or nothing."""
    causes = [found["what"] for line in lines if (found := _CAUSE.search(line))]
    return causes[-1] if causes else ""


def _end_of(result: _Run) -> str:
    text = " | ".join(result.lines)[-_TAIL:]
    return f"the verifier ended with {result.code}: {text or 'no output'}"
