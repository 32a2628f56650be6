# SPDX-License-Identifier: Apache-2.0
"""Lets the build of a new materialized view begin when all nodes have the view.

Each node builds its part of a view as soon as it has the view, and sends the rows that other
nodes own to them. A node that does not have the view yet rejects them; they are sent again after
ten seconds. A node that is just creating the view acknowledges them without writing them: those
rows are lost. Cassandra's builders do wait until all nodes agree on the schema, but a builder looks
before its own node announces the change: to it, all nodes still agree on the former schema.

So another change is made right before the view, and not waited for. The nodes then disagree when
the builders look, and the builders wait. The other change creates a type, which is dropped again.
"""

from __future__ import annotations

from collections.abc import Iterable

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.worker.node import CqlConnection

_MARKER = "magnetodb_backup_creates_views"


def unsettle_schema(cql: CqlConnection, keyspace: str) -> None:
    """Change the schema of the keyspace, and do not wait until the nodes agree."""
    settle_schema(cql, [keyspace])  # an earlier attempt may have been killed
    cql.execute(f"CREATE TYPE {_marker(keyspace)} (nothing int);")


def settle_schema(cql: CqlConnection, keyspaces: Iterable[str]) -> None:
    """Undo the changes of ``unsettle_schema``; without any, nothing is changed."""
    for keyspace in sorted(set(keyspaces)):
        cql.execute(f"DROP TYPE IF EXISTS {_marker(keyspace)}")


def _marker(keyspace: str) -> str:
    return str(TableName(keyspace, _MARKER))
