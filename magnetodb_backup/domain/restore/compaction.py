# SPDX-License-Identifier: Apache-2.0
"""Statements that switch automatic compaction of tables off, and on again as it was.

While SSTables arrive, a compaction could drop a tombstone before the older row that it hides is
there. An option of the table holds on every node, and also after a restart of a node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_ENABLED = "enabled"


def is_switched_off(options: Mapping[str, str]) -> bool:
    """Return whether the compaction options of a table switch automatic compaction off."""
    return options.get(_ENABLED, "true").lower() == "false"


def hold_statements(
    compaction: Mapping[str, Mapping[str, str]], views: Collection[str]
) -> tuple[str, ...]:
    """Return the statements that switch compaction off; names are as in CQL."""
    return tuple(
        _alter(name, {**options, _ENABLED: "false"}, views)
        for name, options in sorted(compaction.items())
    )


def release_statements(
    compaction: Mapping[str, Mapping[str, str]], views: Collection[str]
) -> Mapping[str, str]:
    """Return by table the statement that gives it the options that it had."""
    return {name: _alter(name, options, views) for name, options in sorted(compaction.items())}


def _alter(name: str, options: Mapping[str, str], views: Collection[str]) -> str:
    kind = "MATERIALIZED VIEW" if name in views else "TABLE"
    literal = ", ".join(f"{_text(k)}: {_text(v)}" for k, v in options.items())
    return f"ALTER {kind} {name} WITH compaction = {{{literal}}};"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
