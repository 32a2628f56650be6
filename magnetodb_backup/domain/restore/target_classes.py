# SPDX-License-Identifier: Apache-2.0
"""What the target's nodes may not have: memtable configurations and classes that tables name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from magnetodb_backup.domain.restore.target_settings import TargetNode, major, skip_option
from magnetodb_backup.domain.schema.cql_structure import read_options
from magnetodb_backup.domain.schema.cql_text import Statement
from magnetodb_backup.domain.tables import TableName

MEMTABLES = "memtable.configurations"
_DEFAULT_MEMTABLE = "default"
_ALWAYS = (0, 99)
# The first and the last major release that has a class of Cassandra's own (4.0, 4.1 and 5.0).
_OWN: Mapping[str, tuple[int, int]] = {
    "SizeTieredCompactionStrategy": _ALWAYS,
    "LeveledCompactionStrategy": _ALWAYS,
    "TimeWindowCompactionStrategy": _ALWAYS,
    "DateTieredCompactionStrategy": (0, 4),
    "UnifiedCompactionStrategy": (5, 99),
    "LZ4Compressor": _ALWAYS,
    "SnappyCompressor": _ALWAYS,
    "DeflateCompressor": _ALWAYS,
    "NoopCompressor": (4, 99),
    "ZstdCompressor": (4, 99),
    "StorageAttachedIndex": (5, 99),
    "SASIIndex": _ALWAYS,
}
_OWN_PACKAGE = "org.apache.cassandra."
_CLASS = re.compile(r"'(?:class|sstable_compression)'\s*:\s*'([^']+)'")
_USING = re.compile(r"\bUSING\s+'([^']+)'", re.I)
_NAMES = re.compile(r"[{,]\s*([^=,{}\s]+)=")


@dataclass(frozen=True)
class Lacking:
    """What refuses a restore, and what may."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def lacking_in_target(nodes: Iterable[TargetNode], statements: Iterable[Statement]) -> Lacking:
    """Return what the statements need and a node lacks, or may lack: foreign classes."""
    targets, problems, foreign = list(nodes), list[str](), dict[str, list[str]]()
    for statement in statements:
        what = f"{statement.kind} {TableName(statement.keyspace, statement.name)}"
        reasons: dict[str, list[str]] = {}
        for node in targets:
            for reason in _reasons(statement, node):
                reasons.setdefault(reason, []).append(node.address)
        problems += [
            f"{what} cannot be created: {reason} on {', '.join(addresses)}; change that for the "
            f"restore{skip_option(statement)}"
            for reason, addresses in reasons.items()
        ]
        for name in _classes(statement):
            if not _is_own(name):
                foreign.setdefault(name, []).append(what)
    warnings = tuple(
        f"every node needs the class {name} for {', '.join(users[:3])}"
        + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        + "; without it the restore ends before it changes a table"
        for name, users in foreign.items()
    )
    return Lacking(tuple(problems), warnings)


def _reasons(statement: Statement, node: TargetNode) -> Iterator[str]:
    release = major(node.version)
    for name in _classes(statement):
        first, last = _OWN.get(_short(name), _ALWAYS) if _is_own(name) else _ALWAYS
        if release and not first <= release <= last:
            yield f"Cassandra {node.version} has no {_short(name)}"
    if statement.kind in ("table", "view"):
        memtable = read_options(statement).get("memtable", "").strip("'")
        known = {"", _DEFAULT_MEMTABLE, *_NAMES.findall(node.settings.get(MEMTABLES, ""))}
        if MEMTABLES in node.settings and memtable not in known:
            yield f"{MEMTABLES} has no {memtable}"


def _classes(statement: Statement) -> list[str]:
    match statement.kind:
        case "table" | "view":
            options = read_options(statement)
            texts = [options.get("compaction", ""), options.get("compression", "")]
            return [name for text in texts for name in _CLASS.findall(text)]
        case "index" | "trigger":
            return _USING.findall(statement.text)
    return []


def _is_own(name: str) -> bool:
    return name.startswith(_OWN_PACKAGE) or name in _OWN or name.lower() in _SHORT_FORMS


# Cassandra 5.0 also knows the indexes by these names.
_SHORT_FORMS = frozenset({"sai", "legacy_local_table"})


def _short(name: str) -> str:
    return name.rpartition(".")[2]
