# SPDX-License-Identifier: Apache-2.0
"""A scratch Cassandra from real jars: it takes a schema, and its verifier reads real SSTables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.cql.node import without_login
from magnetodb_backup.cassandra.scratch.installation import Installation
from magnetodb_backup.cassandra.scratch.node import ScratchSettings
from magnetodb_backup.cassandra.scratch.scratch import ScratchCassandra, ScratchPlace
from magnetodb_backup.domain.tables import TableName
from tests.lab import cassandra_flags as flags
from tests.lab.artifacts import CASSANDRA_4_1, CASSANDRA_5_0, cassandra_distribution
from tests.lab.java import java

_REPLICATION = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}"
_ROWS = 50
_EVERYTHING = TableName("scratch", "everything")
_COUNTERS = TableName("scratch", "Counters")
_VIEW = TableName("scratch", "by_text")
_MADE = [
    f"CREATE KEYSPACE scratch WITH replication = {_REPLICATION}",
    "CREATE TYPE scratch.money (amount decimal, currency text)",
    f"CREATE TABLE {_EVERYTHING} (id int, at int, text text, price frozen<money>, "
    "shared text static, tags set<text>, gone int, PRIMARY KEY (id, at)) "
    "WITH ID = 11111111-1111-1111-1111-111111111111",
    f"CREATE TABLE {_COUNTERS} (id int PRIMARY KEY, n counter)",
    f"CREATE INDEX by_price ON {_EVERYTHING} (price)",
    "CREATE TABLE scratch.base (id int PRIMARY KEY, text text)",
    f"CREATE MATERIALIZED VIEW {_VIEW} AS SELECT * FROM scratch.base "
    "WHERE text IS NOT NULL AND id IS NOT NULL PRIMARY KEY (text, id)",
]
# What the node of the given settings refuses, and a part of Cassandra's message.
_REFUSED = {
    "CREATE FUNCTION scratch.f (a int) RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java "
    "AS 'return a;'": "unctions are disabled",
    f"CREATE CUSTOM INDEX sasi ON {_EVERYTHING} (text) "
    "USING 'org.apache.cassandra.index.sasi.SASIIndex'": "SASI indexes are disabled",
    "CREATE TABLE scratch.odd (id int PRIMARY KEY) WITH compaction = "
    "{'class': 'com.example.Missing'}": "com.example.Missing",
}


def never() -> None:
    """Nobody cancels."""


@dataclass(frozen=True)
class Scratched:
    """A place whose Cassandra has run, with SSTables that it has written, and what it refused."""

    place: ScratchPlace
    refused: dict[str, str]
    version: str
    started: str

    def put(self, table: TableName, copies: int = 1) -> Path:
        """Put copies of a table's SSTable where the verifier looks for it."""
        directory = self.place.directory(table)
        assert directory is not None
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (made,) = self.place._home.glob(f"data/{table.keyspace}/{table.table}-*")
        for number in range(1, copies + 1):
            for path in made.glob("nb-1-big-*"):
                shutil.copy(path, directory / path.name.replace("nb-1-", f"nb-{number}-"))
        assert (directory / "nb-1-big-Data.db").exists()
        return directory

    def verify(self, table: TableName, copies: int = 1) -> dict[str, str]:
        names = [f"nb-{number}-big" for number in range(1, copies + 1)]
        return self.place.verify(table, names, never)


@pytest.fixture(
    scope="module",
    params=[CASSANDRA_5_0, pytest.param(CASSANDRA_4_1, marks=pytest.mark.nightly)],
)
def scratched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scratched]:
    directory = tmp_path_factory.mktemp("scratch")
    distribution = cassandra_distribution(request.param)
    (jamm,) = distribution.lib.glob("jamm-*.jar")
    configuration = directory / "cassandra.yaml"
    configuration.write_text(
        json.dumps(
            {
                "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
                "materialized_views_enabled": True,
                "user_defined_functions_enabled": False,
                "data_file_directories": ["/nowhere"],
                "native_transport_port": 9042,
            }
        )
    )
    installation = Installation(
        class_path=f"{distribution.lib}/*",
        java=java(),
        java_options=(*flags.JVM, f"-javaagent:{jamm}"),
        heap="384M",
    )
    settings = ScratchSettings(installation, str(configuration), "127.0.0.1", 600.0, 600.0)
    scratch = ScratchCassandra(directory / "scratch", settings, without_login)
    with ExitStack() as stack:
        place = stack.enter_context(scratch.home(never))
        refused = {}
        with place.node(never, lenient=False) as cql:
            version = cql.version()
            for statement in [*_MADE, *_REFUSED, *_rows()]:
                if message := cql.execute(statement):
                    refused[statement] = message
        yield Scratched(place, refused, version, request.param)
    assert list((directory / "scratch").glob("scratch-*")) == []


def _rows() -> Iterator[str]:
    for number in range(_ROWS):
        yield (
            f"INSERT INTO {_EVERYTHING} (id, at, text, price, shared, tags, gone) VALUES "
            f"({number % 7}, {number}, 'text', {{amount: 1.5, currency: 'c'}}, 's', {{'a'}}, 1)"
        )
        yield f"UPDATE {_COUNTERS} SET n = n + 1 WHERE id = {number}"
        yield f"INSERT INTO scratch.base (id, text) VALUES ({number}, '{number}')"
    yield f"DELETE FROM {_EVERYTHING} WHERE id = 1 AND at > 3"
    yield f"DELETE FROM {_EVERYTHING} WHERE id = 2"
    yield f"ALTER TABLE {_EVERYTHING} DROP gone"


def test_statements_are_applied_or_refused_with_the_reason(scratched: Scratched) -> None:
    assert scratched.version == scratched.started
    assert set(scratched.refused) == set(_REFUSED)
    for statement, part in _REFUSED.items():
        message = scratched.refused[statement]
        assert part in message
        assert not message.startswith(("Cassandra at", "Error from server"))


@pytest.mark.parametrize("table", [_EVERYTHING, _COUNTERS, _VIEW], ids=str)
def test_sound_sstables_are_accepted(scratched: Scratched, table: TableName) -> None:
    """Static and dropped columns, tombstones, types, counters, views; without index files."""
    scratched.put(table)
    assert scratched.verify(table) == {}


def _flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(body)


def test_damaged_sstables_are_named_with_the_reason(scratched: Scratched) -> None:
    directory = scratched.put(_COUNTERS, copies=4)
    damages: dict[int, tuple[Callable[[Path], object], str]] = {
        2: (_flip, "Statistics.db"),
        3: (_flip, "Index.db"),
        4: (Path.unlink, "Index.db"),
    }
    for number, (damage, component) in damages.items():
        damage(directory / f"nb-{number}-big-{component}")
    found = scratched.verify(_COUNTERS, copies=4)
    assert set(found) == {f"nb-{number}-big" for number in damages}
    assert found["nb-2-big"] == "Error Loading nb-2-big: Corrupted: nb-2-big-Statistics.db"
    assert found["nb-4-big"] == "a component of it is missing"
    assert "Invalid SSTable" not in found["nb-3-big"]
