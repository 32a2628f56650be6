# SPDX-License-Identifier: Apache-2.0
"""What the commands that list and show records share."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cliff.columns import FormattableColumn
from cliff.lister import Lister
from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import DONE, ServiceCommand
from magnetodb_backup.cli.messages import complain
from magnetodb_backup.cli.summary import Summary
from magnetodb_backup.cli.units import size

_STRUCTURED = ("json", "yaml")
_WAITS = "waiting_for"  # a long text, of few records


class _Size(FormattableColumn[int]):
    """A number of bytes: with a unit in a table, plain in every other form."""

    def human_readable(self) -> str:
        return size(self._value)


class _Names(FormattableColumn[list[str]]):
    """Names: one line of text in tables, a list in structured forms."""

    def human_readable(self) -> str:
        return ", ".join(self._value)


def cell(name: str, value: Any) -> Any:
    """Return a field's value as the text of a cell; ``name`` is the field's."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else value


class ListCommand(ServiceCommand, Lister):
    """Lists records with the options that backups and restores share."""

    noun = ""
    columns: tuple[str, ...] = ()
    sizes: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--status", help=f"list only {self.noun}s with this status")
        parser.add_argument("--cluster", help=f"list only {self.noun}s of this cluster")
        parser.add_argument("--limit", type=int, metavar="N", help=f"list at most N {self.noun}s")
        parser.add_argument("--marker", metavar="ID", help=f"start after this {self.noun}")
        return parser

    @staticmethod
    def chosen(parsed_args: Namespace) -> dict[str, Any]:
        """Return the shared options as the stores' ``list()`` takes them."""
        return {
            name: getattr(parsed_args, name) for name in ("limit", "marker", "status", "cluster")
        }

    def rows(self, parsed_args: Namespace, views: Iterable[Mapping[str, Any]]) -> Any:
        """Return columns and rows for cliff; a table has no column of waits if nothing waits."""
        rows = [tuple(self._column(c, v[c]) for c in self.columns) for v in views]
        in_table = parsed_args.formatter == "table" and not parsed_args.columns
        if in_table and self.columns[-1] == _WAITS and not any(row[-1] for row in rows):
            return self.columns[:-1], [row[:-1] for row in rows]
        return self.columns, rows

    def _column(self, name: str, value: Any) -> Any:
        if name in self.sizes:
            return _Size(value)
        return _Names(value) if name in self.lists else value


class RecordCommand(ServiceCommand, ShowOne):
    """Shows one record.

    A table has what a person needs, every other form and ``--long`` all fields. A command that has
    waited for a job's end shows a summary instead of the table. Complaints come last.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._code, self._below = DONE, ""
        self._summary: Summary | None = None
        self._complaints: list[tuple[str, str]] = []

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--long", action="store_true", help="show all fields in the table too")
        return parser

    @override
    def run(self, parsed_args: Namespace) -> int:
        code = int(super().run(parsed_args) or 0)
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self.app.stdout.write(self._below)
        for kind, text in self._complaints:
            complain(kind, text)
        return code or self._code

    @override
    def produce_output(self, parsed_args: Namespace, column_names: Sequence[str], data: Any) -> int:
        if self._summary is not None and self.for_people(parsed_args):
            self._summary.write(self.app.stdout)
            return 0
        return int(super().produce_output(parsed_args, column_names, data) or 0)

    @staticmethod
    def for_people(parsed_args: Namespace) -> bool:
        """Return whether the output is a table without internal fields."""
        chosen = parsed_args.columns or parsed_args.long
        return bool(parsed_args.formatter == "table" and not chosen)

    def ends(self, code: int, *complaints: tuple[str, str]) -> None:
        """Set the exit code, and what is written after the output: (kind, text)."""
        self._code = code
        self._complaints += complaints

    def shown(
        self,
        parsed_args: Namespace,
        view: Mapping[str, Any],
        *,
        brief: Callable[[], Mapping[str, Any]],
        text: Callable[[str, Any], Any] = cell,
    ) -> Any:
        """Return columns for cliff.

        ``view`` has all fields, ``brief`` returns the readable ones, ``text`` makes a cell of a
        field's name and value; in JSON and YAML nested values stay nested.
        """
        if parsed_args.formatter in _STRUCTURED:
            return tuple(view), tuple(view.values())
        if self.for_people(parsed_args):
            fields = {name: value for name, value in brief().items() if value not in ("", None)}
            return tuple(fields), tuple(fields.values())
        return tuple(view), tuple(text(name, value) for name, value in view.items())
