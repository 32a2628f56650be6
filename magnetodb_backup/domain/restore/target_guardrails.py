# SPDX-License-Identifier: Apache-2.0
"""What the guardrails of the target's nodes refuse to a restore.

Each node has its own ``cassandra.yaml``, and checks the statements that clients send to it, but not
those of superusers. The names and the conditions are those of Cassandra 4.1 and 5.0, and were tried
on 5.0.9.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.restore.target_settings import TargetNode, skip_option
from magnetodb_backup.domain.schema.cql_structure import read_fields, read_options, read_structure
from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.tables import TableName

_SWITCHES = (
    "secondary_indexes_enabled",
    "simplestrategy_enabled",
    "uncompressed_tables_enabled",
    "alter_table_enabled",
    "drop_truncate_table_enabled",
)
_LIMITS = (
    "keyspaces_fail_threshold",
    "tables_fail_threshold",
    "columns_per_table_fail_threshold",
    "fields_per_udt_fail_threshold",
    "secondary_indexes_per_table_fail_threshold",
    "materialized_views_per_table_fail_threshold",
    "vector_dimensions_fail_threshold",
    "maximum_replication_factor_fail_threshold",
    "minimum_replication_factor_fail_threshold",
)
_DISALLOWED = "table_properties_disallowed"
GUARDRAILS = (*_SWITCHES, *_LIMITS, _DISALLOWED)
_VECTOR = re.compile(r"\bvector\s*<.*?,\s*(\d+)\s*>", re.I)
_FACTOR = re.compile(r"'([^']+)'\s*:\s*'?(\d+)")


@dataclass(frozen=True)
class PlannedStatements:
    """What a restore would execute, and the target's users' keyspaces and tables as they are."""

    statements: Sequence[Statement]
    truncates: bool
    keyspaces: int
    tables: int

    def of(self, *kinds: str) -> list[Statement]:
        """Return the statements of some kinds."""
        return [s for s in self.statements if s.kind in kinds]


def guardrail_problems(nodes: Iterable[TargetNode], planned: PlannedStatements) -> list[str]:
    """Return a problem for each statement that a node's guardrails refuse."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if not node.superuser:
            for refused in _refused(planned, _Guardrails(node.settings)):
                found.setdefault(refused, []).append(node.address)
    return [
        refused.replace("{nodes}", ", ".join(addresses)) for refused, addresses in found.items()
    ]


class _Guardrails:
    """The guardrails of a node; those that it does not report refuse nothing."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings

    def forbids(self, name: str) -> bool:
        return self._settings.get(name, "").lower() == "false"

    def limit(self, name: str) -> int | None:
        value = self._settings.get(name, "")
        return int(value) if value.isdigit() else None

    def exceeded(self, name: str, number: int) -> int | None:
        """Return the limit that the number is above, if it is."""
        limit = self.limit(name)
        return limit if limit is not None and number > limit else None

    def disallowed(self) -> frozenset[str]:
        names = self._settings.get(_DISALLOWED, "").strip("[]").split(",")
        return frozenset(name.strip().lower() for name in names if name.strip())


def _refused(planned: PlannedStatements, guardrails: _Guardrails) -> Iterator[str]:
    """Yield what one node refuses; ``{nodes}`` stands for the addresses."""
    yield from _refused_by_switch(planned, guardrails)
    yield from _refused_by_totals(planned, guardrails)
    for statement in planned.statements:
        for name, limit in _exceeded(statement, guardrails):
            yield _problem(statement, f"{name} is {limit}")
        for option in _properties(statement) & guardrails.disallowed():
            yield _problem(statement, f"{_DISALLOWED} has {option}")


def _refused_by_switch(planned: PlannedStatements, guardrails: _Guardrails) -> Iterator[str]:
    rules: tuple[tuple[str, str, Callable[[Statement], bool]], ...] = (
        ("secondary_indexes_enabled", "index", lambda s: True),
        ("simplestrategy_enabled", "keyspace", lambda s: "SimpleStrategy" in s.text),
        ("uncompressed_tables_enabled", "table", _is_uncompressed),
        ("alter_table_enabled", "alter", lambda s: True),
    )
    for name, kind, applies in rules:
        if guardrails.forbids(name):
            yield from (_problem(s, f"{name} is false") for s in planned.of(kind) if applies(s))
    if planned.truncates and guardrails.forbids("drop_truncate_table_enabled"):
        yield (
            "tables cannot be truncated: drop_truncate_table_enabled is false on {nodes}; change "
            "that for the restore"
        )


def _refused_by_totals(planned: PlannedStatements, guardrails: _Guardrails) -> Iterator[str]:
    for what, kind, there in (
        ("keyspaces", "keyspace", planned.keyspaces),
        ("tables", "table", planned.tables),
    ):
        new = len(planned.of(kind))
        limit = guardrails.exceeded(f"{what}_fail_threshold", there + new) if new else None
        if limit is not None:
            yield (
                f"{new} {what} cannot be created beside the {there} there are: "
                f"{what}_fail_threshold is {limit} on {{nodes}}; raise it for the restore"
            )
    for kind, name in (
        ("index", "secondary_indexes_per_table_fail_threshold"),
        ("view", "materialized_views_per_table_fail_threshold"),
    ):
        tables = Counter(TableName(s.keyspace, s.table) for s in planned.of(kind))
        for table, number in tables.items():
            if (limit := guardrails.exceeded(name, number)) is not None:
                yield (
                    f"{kind} {number} of table {table} cannot be created: {name} is {limit} on "
                    f"{{nodes}}; raise it for the restore, or leave some out by --skip {kind}=NAME"
                )


def _exceeded(statement: Statement, guardrails: _Guardrails) -> Iterator[tuple[str, int]]:
    """Yield the guardrails whose limit a statement by itself exceeds, with the limit."""
    for name, number in _sizes(statement):
        limit = guardrails.exceeded(name, number)
        if limit is not None:
            yield name, limit
    lowest = guardrails.limit("minimum_replication_factor_fail_threshold")
    if lowest is not None and any(0 < factor < lowest for factor in _factors(statement)):
        yield "minimum_replication_factor_fail_threshold", lowest


def _sizes(statement: Statement) -> Iterator[tuple[str, int]]:
    match statement.kind:
        case "table":
            columns = read_structure(statement).columns.values()
            yield "columns_per_table_fail_threshold", len(columns)
            yield "vector_dimensions_fail_threshold", _dimensions(c.type for c in columns)
        case "type":
            fields, _ = read_fields(statement)
            yield "fields_per_udt_fail_threshold", len(fields)
            yield "vector_dimensions_fail_threshold", _dimensions(f.type for f in fields)
        case "keyspace":
            yield "maximum_replication_factor_fail_threshold", max(_factors(statement), default=0)


def _dimensions(types: Iterable[str]) -> int:
    return max((int(n) for type_ in types for n in _VECTOR.findall(type_)), default=0)


def _factors(statement: Statement) -> list[int]:
    if statement.kind != "keyspace":
        return []
    replication = read_options(statement).get("replication", "")
    return [int(factor) for _, factor in _FACTOR.findall(replication)]


def _is_uncompressed(table: Statement) -> bool:
    compression = read_options(table).get("compression", "")
    return re.search(r"'enabled'\s*:\s*'?false", compression, re.I) is not None


def _properties(statement: Statement) -> frozenset[str]:
    if statement.kind not in ("table", "view"):
        return frozenset()
    return frozenset(read_options(statement))


def _problem(statement: Statement, reason: str) -> str:
    what = f"{statement.kind} {TableName(statement.keyspace, statement.name)}"
    cannot = f"{what} cannot be created"
    if statement.kind == "keyspace":
        cannot = f"keyspace {statement.name} cannot be created"
    elif statement.kind == "alter":
        cannot = f"table {TableName(statement.keyspace, statement.name)} cannot be altered"
    return f"{cannot}: {reason} on {{nodes}}; change that for the restore{skip_option(statement)}"
