# SPDX-License-Identifier: Apache-2.0
"""The readable form of a restore's plan."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from magnetodb_backup.cli.units import size
from magnetodb_backup.domain.fingerprints import TableCheck

_METHODS = {
    "import": "imported; each node takes the files of the node whose tokens it has",
    "stream": "streamed by Cassandra's bulk loader to the nodes that own the rows",
    "place": "put in place of each node's own files while Cassandra is stopped",
}


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return the plan's sections, leaving out those that the plan lacks."""
    sections = (
        ("How each node gets its files", _routing(plan)),
        ("Tables", _tables(plan)),
        ("Nodes", _nodes(plan)),
        ("Costs", _costs(plan)),
        ("Schema", _schema(plan.get("schema") or {})),
        ("Fingerprints to check against", _fingerprints(plan)),
        ("Warnings", iter(plan.get("warnings", ()))),
        ("Problems, which refuse the restore", iter(plan.get("problems", ()))),
    )
    return "".join(_section(title, lines) for title, lines in sections)


def check_lines(checks: Mapping[str, Mapping[str, Any]] | None) -> Iterator[str]:
    """Yield a line for each checked table."""
    for table, check in (checks or {}).items():
        yield f"{table}: {TableCheck.from_json(check).as_text()}"


def _section(title: str, lines: Iterator[str]) -> str:
    text = "\n".join(lines)
    return f"\n{title}\n{textwrap.indent(text, '  ')}\n" if text else ""


def _routing(plan: Mapping[str, Any]) -> Iterator[str]:
    for keyspace, method in plan.get("method_by_keyspace", {}).items():
        yield f"{keyspace}: {_METHODS.get(method, method)}"


def _tables(plan: Mapping[str, Any]) -> Iterator[str]:
    for table in plan.get("tables", ()):
        source, target = table.get("source"), table.get("target")
        name = f"{source} -> {target}" if target not in (None, source) else source
        state = "is created"
        if table.get("exists"):
            state = "exists and has data" if table.get("has_rows") else "exists and is empty"
        yield f"{name}: {_size(table)}; {state}"


def _nodes(plan: Mapping[str, Any]) -> Iterator[str]:
    for node in plan.get("nodes", ()):
        sources = ", ".join(node.get("sources", ())) or "no node"
        yield f"{node.get('address')} ({node.get('host_id')}): {_size(node)} of {sources}"
        if staged := node.get("bytes_staged"):
            yield f"  {size(staged)} of it are there already, fetched by an earlier restore"
        for disk in node.get("free", ()):
            free, needed = disk.get("free", 0), disk.get("needed", 0)
            short = "; not enough" if needed > free else ""
            yield f"  {disk.get('path')}: needs {size(needed)}, {size(free)} are free{short}"


def _costs(plan: Mapping[str, Any]) -> Iterator[str]:
    if "requests" in plan:
        yield f"requests to the store: {plan['requests']}"
    staged = plan.get("bytes_staged", 0)
    if "bytes" in plan:
        yield f"files to fetch: {size(plan['bytes'] - staged)}"
    if staged:
        yield f"files that an earlier restore has fetched: {size(staged)}"
    if "bytes_sent" in plan:
        yield f"sent between nodes: {size(plan['bytes_sent'])}"
    if "amplification" in plan:
        yield f"bytes moved for each byte: {plan['amplification']:g}"
    if plan.get("expected_seconds") is not None:
        yield f"expected time: {plan['expected_seconds']:g} s"


def _schema(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from schema.get("create", ())
    yield from (f"differs: {d}" for d in schema.get("differences", ()))
    yield from (f"note: {n}" for n in schema.get("notes", ()))


def _fingerprints(plan: Mapping[str, Any]) -> Iterator[str]:
    for table, found in plan.get("figures", {}).items():
        yield f"{table}: {found['steady']} of {sum(found.values())} token ranges"


def _size(what: Mapping[str, Any]) -> str:
    return f"{what.get('files', 0)} files, {size(what.get('bytes', 0))}"
