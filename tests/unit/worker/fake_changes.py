# SPDX-License-Identifier: Apache-2.0
"""What a restore changes in nodes that consist of directories: their schema, their files."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from magnetodb_backup.cassandra.control.sstableloader import Loaded
from magnetodb_backup.cassandra.files.staging import sstable_of
from magnetodb_backup.domain.schema.cql_structure import read_options
from magnetodb_backup.domain.schema.parts import Schema
from magnetodb_backup.domain.schema.planner import split_statements
from magnetodb_backup.domain.schema.reading import rows_of
from magnetodb_backup.domain.schema.rows import SchemaRow
from magnetodb_backup.domain.tables import TableDescription, TableName, quote
from magnetodb_backup.errors import (
    CassandraUnavailable,
    CommandFailed,
    SSTableRefused,
    StreamFailed,
    UnknownTable,
)

if TYPE_CHECKING:
    from tests.unit.worker.fake_node import FakeNode


COMPACTION = {"class": "org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy"}


def option(schema: str, name: TableName, option_: str, default: str) -> str:
    """Return an option of a table in a schema."""
    found = Schema.read(schema_rows(schema)).table(name)
    return (read_options(found) if found else {}).get(option_, default)


def keyspace_text(name: str, replication: Mapping[str, str]) -> str:
    options = ", ".join(f"'{k}': '{v}'" for k, v in replication.items())
    return f"CREATE KEYSPACE {quote(name)} WITH replication = {{{options}}};"


def table_text(of: TableDescription, columns: str = "k int PRIMARY KEY, v text") -> str:
    options = f"ID = {uuid.UUID(of.id)} AND gc_grace_seconds = 864000"
    return f"CREATE TABLE {of.name} ({columns}) WITH {options};"


def view_text(name: TableName, of: TableName, number: int = 77) -> str:
    return (
        f"CREATE MATERIALIZED VIEW {name} AS SELECT k, v FROM {of} WHERE v IS NOT NULL AND "
        f"k IS NOT NULL PRIMARY KEY (v, k) WITH ID = {uuid.UUID(int=number)};"
    )


def schema_text(tables: Iterable[TableDescription], replication: Mapping[str, str]) -> str:
    """Return a schema as Cassandra describes it."""
    tables = list(tables)
    names = dict.fromkeys(t.name.keyspace for t in tables)
    texts = [keyspace_text(n, replication) for n in names]
    return "\n\n".join([*texts, *(table_text(t) for t in tables if not t.is_view)]) + "\n"


def schema_rows(text: str) -> tuple[SchemaRow, ...]:
    """Return a schema as the rows of DESCRIBE."""
    return rows_of(re.sub(r";\n+(?=CREATE )", ";\n\n", text))


def execute(nodes: Sequence[FakeNode], text: str) -> None:
    """Do what a statement says on all nodes of a ring."""
    word, *_ = words = text.rstrip(";").split()
    if word == "TRUNCATE":
        for node in nodes:
            if not any(t.name == _name(words[-1]) for t in node.tables):
                raise CommandFailed(f"InvalidRequest: table {words[-1]} does not exist")
            for path in table_files(node, _name(words[-1])):
                path.unlink()
    elif word == "ALTER" and "compaction" in words:
        _set_compaction(nodes, _name(words[words.index("WITH") - 1]), text)
    elif word == "DROP":
        drop(nodes, _name(words[-1]))
    elif word == "CREATE":
        _create(nodes, text)
    else:
        raise CommandFailed(f"SyntaxException: {text}")


def _set_compaction(nodes: Sequence[FakeNode], name: TableName, text: str) -> None:
    for node in nodes:
        node.compaction[name] = dict(re.findall(r"'(\w+)': '([^']*)'", text))
        node.not_compacted.discard(name)  # Cassandra takes the option


def _create(nodes: Sequence[FakeNode], text: str) -> None:
    (made,) = split_statements(text if text.rstrip().endswith(";") else f"{text};")
    if made.kind == "other":
        raise CommandFailed(f"SyntaxException: {text}")
    for node in nodes:
        known = Schema.read(node.schema).statements
        if made.kind != "keyspace" and made.keyspace not in {s.keyspace for s in known}:
            raise CommandFailed(f"InvalidRequest: keyspace {made.keyspace} does not exist")
        there = [(s.kind, s.keyspace, s.name) for s in known]
        if (made.kind, made.keyspace, made.name) in there:
            raise CommandFailed(f"AlreadyExists: {made.kind} {made.keyspace}.{made.name}")
        node.schema += "\n" + text + "\n"
        if made.kind in ("table", "view"):
            name = TableName(made.keyspace, made.name)
            table = TableDescription(name, _id_in(text), made.kind == "view")
            node.tables.append(table)
            node.data.table_directory(0, table).mkdir(parents=True, exist_ok=True)


def drop(nodes: Sequence[FakeNode], name: TableName) -> None:
    """Drop a table or a view, on all nodes."""
    for node in nodes:
        for path in table_files(node, name):
            path.unlink()
        node.tables = [t for t in node.tables if t.name != name]
        kept = [
            s.text
            for s in Schema.read(node.schema).statements
            if (s.keyspace, s.name) != (name.keyspace, name.table)
        ]
        node.schema = "\n\n".join(kept) + "\n"


def table_files(node: FakeNode, name: TableName) -> list[Path]:
    """Return the files of a table; it may be unknown."""
    return [
        path
        for each in node.tables
        if each.name == name
        for directory in range(len(node.data.paths))
        for path in sorted(node.data.table_directory(directory, each).glob("*"))
        if path.is_file()
    ]


def rows(node: FakeNode, name: TableName) -> list[bytes]:
    """Return what a node has of a table, whatever its SSTables are called."""
    return sorted(p.read_bytes() for p in table_files(node, name) if p.name.endswith("-Data.db"))


def import_nothing(node: FakeNode, directories: Sequence[str]) -> None:
    """Check that Cassandra may change the directories, which are empty."""
    assert all(not list(Path(directory).iterdir()) for directory in directories)
    if node.silent_rehearsals:
        node.silent_rehearsals -= 1
        raise CassandraUnavailable("Cassandra does not answer")
    if node.takes_nothing_over:
        raise CommandFailed(f"import: Insufficient permissions on directory {directories[0]}")


def import_sstables(node: FakeNode, name: TableName, directories: Sequence[str]) -> None:
    """Move the directories' SSTables into the table, under new generations.

    As Cassandra does, pass over directories that are not called as the table's are.
    """
    known = [t for t in node.tables if t.name == name]
    if not known:
        raise UnknownTable(f"Cassandra has no table {name}")
    if absent := [d for d in directories if not Path(d).is_dir()]:
        raise CommandFailed(f"directory {', '.join(absent)} does not exist")
    refused = []
    for directory in map(Path, directories):
        if directory.parts[-2:] != (name.keyspace, name.table):
            continue
        sstables: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(directory.iterdir()):
            if path.is_file():
                sstables[sstable_of(path.name)].append(path)
        data = [p.read_bytes() for files in sstables.values() for p in files]
        if any(body in node.malformed for body in data):
            refused.append(str(directory))
            continue
        for files in sstables.values():
            if any(p.read_bytes() in node.passed_over for p in files):
                continue
            node.generation += 1
            for path in files:
                component = path.name.rpartition("-")[2]
                node.write(known[0], f"nb-{node.generation}-big-{component}", path.read_bytes())
                path.unlink()
    if refused:
        raise SSTableRefused(
            f"Cassandra refuses SSTables of {', '.join(refused)} for {name}; its log (system.log) "
            "has the reason"
        )


class FakeLoader:
    """Sends SSTables to every node of a ring, as one with a replica everywhere.

    ``malformed`` content of a Data.db is passed over, ``unreadable`` one fails the whole run,
    ``not_taken`` is refused by the nodes; ``troubles`` are raised first, one a run.
    """

    def __init__(self, nodes: Callable[[], Sequence[FakeNode]]) -> None:
        self._nodes = nodes
        self.loaded: list[tuple[str, tuple[str, ...]]] = []
        self.malformed: set[bytes] = set()
        self.unreadable: set[bytes] = set()
        self.not_taken: set[bytes] = set()
        self.troubles: list[Exception] = []
        self.before_load: Callable[[], None] = lambda: None

    def load(
        self, directory: str, contacts: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> Loaded:
        raise_if_cancelled()
        self.before_load()
        path = Path(directory)
        if path.parent.name == "system_traces":  # Cassandra's own; nothing is in the directory
            for node in self._nodes():
                node.log.append(f"loader rehearses {' '.join(contacts)}")
                if node.refuses_loader:
                    raise node.refuses_loader
            return Loaded(0, {})
        self.loaded.append((f"{path.parent.name}.{path.name}", tuple(contacts)))
        name = TableName(path.parent.name, path.name)
        data = {p.name: p.read_bytes() for p in sorted(path.glob("*-Data.db"))}
        if self.troubles:
            raise self.troubles.pop(0)
        if self.unreadable & set(data.values()):
            raise SSTableRefused(f"sstableloader cannot read an SSTable in {directory}")
        if self.not_taken & set(data.values()):
            raise StreamFailed(f"nodes did not take the SSTables of {directory}")
        sent, skipped = 0, {}
        for file, content in data.items():
            if content in self.malformed:
                skipped[sstable_of(file)] = f"Skipping file {file}"
                continue
            for node in self._nodes():
                known = _known(node, name)
                node.generation += 1
                node.write(known, f"nb-{node.generation}-big-Data.db", content)
                sent += len(content)
        return Loaded(sent, skipped)


def _known(node: FakeNode, name: TableName) -> TableDescription:
    for table in node.tables:
        if table.name == name:
            return table
    raise UnknownTable(f"Cassandra has no table {name}")


def _name(text: str) -> TableName:
    return TableName.parse(text)


def _id_in(text: str) -> str:
    _, _, rest = text.partition("ID = ")
    return uuid.UUID(rest[:36]).hex if rest else uuid.uuid4().hex


def protect(path: Path) -> None:
    """Put a directory behind a link, which the worker neither follows nor removes."""
    if not path.is_symlink():
        path.rename(path.with_name(f"kept-{path.name}"))
        path.symlink_to(f"kept-{path.name}")


def unprotect(path: Path) -> None:
    """Undo ``protect()``."""
    if path.is_symlink():
        path.unlink()
        path.with_name(f"kept-{path.name}").rename(path)
