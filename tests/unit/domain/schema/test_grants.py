# SPDX-License-Identifier: Apache-2.0
"""Grants as statements, and those that are lost with what was dropped."""

from __future__ import annotations

from magnetodb_backup.domain.schema.cql_text import split_statements
from magnetodb_backup.domain.schema.grants import Granted, grant_rows, lost_grants

# As Cassandra 5.0.9 has them in system_auth.role_permissions.
INT = "org.apache.cassandra.db.marshal.Int32Type"
GRANTED = (
    Granted("App 2", "data/k", ("MODIFY",)),
    Granted("app", "data/k/*", ("SELECT",)),
    Granted("app", "data/k/t", ("SELECT", "MODIFY")),
    Granted("app", "data/k/u", ("SELECT",)),
    Granted("app", "data", ("CREATE",)),
    Granted("app", "data/system_auth/role_permissions", ("SELECT",)),
    Granted("app", "functions/k", ("EXECUTE",)),
    Granted("app", f"functions/k/plain[{INT}^{INT}]", ("EXECUTE",)),
    Granted("app", "roles/other", ("DROP",)),
    Granted("app", "mbean/x", ("SELECT",)),
)
ROWS = grant_rows(GRANTED)


def test_grants_are_statements() -> None:
    assert [row.statement for row in ROWS] == [
        'GRANT MODIFY ON KEYSPACE k TO "App 2";',
        "GRANT SELECT ON ALL TABLES IN KEYSPACE k TO app;",
        "GRANT MODIFY ON TABLE k.t TO app;",
        "GRANT SELECT ON TABLE k.t TO app;",
        "GRANT SELECT ON TABLE k.u TO app;",
        "GRANT EXECUTE ON ALL FUNCTIONS IN KEYSPACE k TO app;",
        f"GRANT EXECUTE ON FUNCTION k.plain('{INT}', '{INT}') TO app;",
    ]


def test_grants_of_a_table_that_is_created_again_are_lost() -> None:
    """The others of its keyspace are still there."""
    created = split_statements("CREATE TABLE k.t (k int PRIMARY KEY);")
    assert lost_grants(ROWS, created) == (
        "GRANT MODIFY ON TABLE k.t TO app;",
        "GRANT SELECT ON TABLE k.t TO app;",
    )


def test_all_grants_of_a_keyspace_that_is_created_again_are_lost() -> None:
    created = split_statements("CREATE KEYSPACE k WITH x = 1; CREATE TABLE j.u (k int);")
    assert lost_grants(ROWS, created) == tuple(row.statement for row in ROWS)
    assert lost_grants(ROWS, split_statements("CREATE KEYSPACE j WITH x = 1;")) == ()
