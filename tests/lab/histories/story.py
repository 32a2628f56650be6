# SPDX-License-Identifier: Apache-2.0
"""A history, and everything that follows from it: commands, and rows at each moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.lab.histories.commands import Command
from tests.lab.histories.model import Keyspace
from tests.lab.histories.operations import CreateTable, Operation, Ttl, Write
from tests.lab.histories.prediction import Prediction, Request, predict
from tests.lab.histories.tables import Kind


@dataclass(frozen=True)
class History:
    """Operations before the backup, after it, and after the restore."""

    kinds: tuple[tuple[str, Kind], ...]
    before: tuple[Operation, ...]
    after: tuple[Operation, ...]
    then: tuple[Operation, ...]
    request: Request


@dataclass(frozen=True)
class Story:
    """A history in a keyspace, told to its end.

    ``expires`` says after which of the first two parts something short-lived is waited for.
    """

    keyspace: str
    request: Request
    before: Sequence[Command]
    backup: Keyspace
    after: Sequence[Command]
    present: Keyspace
    prediction: Prediction
    then: Sequence[Command]
    end: Keyspace
    expires: tuple[bool, bool]

    @property
    def beside(self) -> str:
        """Return the name of the keyspace for a restore under another name."""
        return beside(self.keyspace)

    @property
    def is_alone(self) -> bool:
        """Return whether its restore cannot have the tables of other histories, too."""
        return self.request.to_keyspace or bool(self.request.to_table)

    def options(self) -> list[str]:
        """Return what chooses its tables on the command line."""
        request = self.request
        chosen = [f"--table={self.keyspace}.{table}" for table in request.tables]
        chosen = chosen or [f"--keyspace={self.keyspace}"]
        if request.to_keyspace:
            chosen.append(f"--to-keyspace={self.beside}")
        if request.to_table:
            chosen.append(f"--to-table={request.to_table}")
        return chosen

    def targets(self) -> list[str]:
        """Return the tables that the restore would change."""
        keyspace = self.prediction.keyspace.name
        names = self.request.tables or self.backup.tables
        return [f"{keyspace}.{self.request.to_table or name}" for name in names]

    def refused(self) -> list[str]:
        """Return the tables for which the restore has to be refused."""
        return [f"{self.prediction.keyspace.name}.{table}" for table in self.prediction.refused]

    def restored(self) -> Sequence[Keyspace]:
        """Return the keyspaces after the restore, if it is not refused."""
        return _both(self.present, self.prediction.keyspace)

    def ended(self) -> Sequence[Keyspace]:
        """Return the keyspaces after everything."""
        return _both(self.present, self.end)

    def text(self) -> str:
        """Return the story for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from map(str, self.before)
        yield f"-- backup; then {_shown(self.backup)}"
        yield from map(str, self.after)
        yield f"-- now {_shown(self.present)}"
        yield f"-- restore {' '.join(self.options())} --existing {self.request.existing.value}"
        if self.prediction.refused:
            for table, reason in self.prediction.refused.items():
                yield f"-- refused: {table}: {reason}"
            return
        yield f"-- now {_shown(self.prediction.keyspace)}"
        yield from map(str, self.then)
        yield f"-- in the end {_shown(self.end)}"


def beside(keyspace: str) -> str:
    """Return the name of the keyspace for a restore under another name."""
    return f"{keyspace}_beside"


def _shown(keyspace: Keyspace) -> str:
    if not keyspace.exists:
        return f"{keyspace.name} does not exist"
    rows = {
        name: [{k: v for k, v in row if v is not None} for row in rows]
        for name, rows in keyspace.read().items()
    }
    return f"{keyspace.name} has {rows}"


def _both(source: Keyspace, target: Keyspace) -> Sequence[Keyspace]:
    return (target,) if source.name == target.name else (source, target)


def tell(history: History, name: str) -> Story:
    """Tell a history in a keyspace of this name."""
    keyspace = Keyspace(name, dict(history.kinds))
    create = [CreateTable(table, 0) for table, _ in history.kinds]
    before = keyspace.perform((*create, *history.before))
    if not keyspace.tables:  # there must be something to back up
        before += keyspace.perform(create[:1])
    backup = keyspace.copy()
    after = keyspace.perform(history.after)
    present = keyspace.copy()
    request = history.request.within(backup)
    target = Keyspace(beside(name), keyspace.kinds) if request.to_keyspace else present
    prediction = predict(backup, target, request)
    end = prediction.keyspace.copy()
    then = [] if prediction.refused else end.perform(history.then)
    expires = (_expires(history.before), _expires(history.after))
    return Story(name, request, before, backup, after, present, prediction, then, end, expires)


def _expires(operations: Sequence[Operation]) -> bool:
    return any(isinstance(o, Write) and o.ttl is Ttl.SHORT for o in operations)
