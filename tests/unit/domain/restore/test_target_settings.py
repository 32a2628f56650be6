# SPDX-License-Identifier: Apache-2.0
"""What the settings of single nodes forbid to create."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.restore.target_settings import (
    TargetNode,
    has_authorization,
    setting_problems,
)
from magnetodb_backup.domain.tables import TableName

VIEW = "CREATE MATERIALIZED VIEW k.v AS SELECT * FROM k.t PRIMARY KEY (a, b);"
SASI = "CREATE CUSTOM INDEX i ON k.t (s) USING 'org.apache.cassandra.index.sasi.SASIIndex';"
SAI = "CREATE CUSTOM INDEX i ON k.t (s) USING 'StorageAttachedIndex';"
JAVA = "CREATE FUNCTION k.f(a int) RETURNS int LANGUAGE java AS $$return a;$$;"
SCRIPT = JAVA.replace("java", "javascript")
TRIGGER = "CREATE TRIGGER g ON k.t USING 'org.example.Trigger';"
VIEWS, SASIS = "materialized_views_enabled", "sasi_indexes_enabled"
FUNCTIONS, SCRIPTS = "user_defined_functions_enabled", "scripted_user_defined_functions_enabled"


def _nodes(name: str, value: str, version: str = "5.0.9") -> list[TargetNode]:
    """Return two nodes, of which the second one has the setting."""
    return [
        TargetNode("10.0.0.1", version, {"authorizer": "AllowAllAuthorizer"}),
        TargetNode("10.0.0.2", version, {name: value}),
    ]


@pytest.mark.parametrize(
    ("statement", "kind", "name", "setting"),
    [
        (VIEW, "view", "v", VIEWS),
        (VIEW, "view", "v", "enable_materialized_views"),  # of 4.0
        (SASI, "index", "i", SASIS),
        (JAVA, "function", "f", FUNCTIONS),
    ],
)
def test_what_one_node_forbids(statement: str, kind: str, name: str, setting: str) -> None:
    """The setting, the node and both remedies are named."""
    assert setting_problems(_nodes(setting, "false"), [SAI, statement], ()) == [
        f"{kind} k.{name} cannot be created: {setting} is false on 10.0.0.2; change that, or "
        f"restore without it by --skip {kind}=k.{name}"
    ]
    assert setting_problems(_nodes(setting, "true"), [statement], ()) == []


def test_views_that_exist_would_be_dropped_for_good() -> None:
    """A view made before the switch was turned off still works, but cannot be made again."""
    (problem,) = setting_problems(_nodes(VIEWS, "false"), [VIEW], [TableName("k", "v")])
    assert problem.startswith("view k.v would be dropped and cannot be created again: materialized")


def test_functions_in_javascript() -> None:
    (problem,) = setting_problems(_nodes(SCRIPTS, "true"), [JAVA, SCRIPT], ())
    assert "Cassandra 5.0.9 has functions in Java only on 10.0.0.1, 10.0.0.2; change" in problem
    (problem,) = setting_problems(_nodes(SCRIPTS, "false", "4.1.10"), [JAVA, SCRIPT], ())
    assert f"function k.f cannot be created: {SCRIPTS} is false on 10.0.0.2" in problem


@pytest.mark.parametrize(
    ("settings", "checks"),
    [
        ({}, True),  # nothing is known
        ({VIEWS: "true"}, False),  # Cassandra shows no authorizer where none is set
        ({"authorizer": "AllowAllAuthorizer"}, False),
        ({"authorizer": "org.apache.cassandra.auth.AllowAllAuthorizer"}, False),
        ({"authorizer": "CassandraAuthorizer"}, True),
    ],
)
def test_whether_permissions_are_checked(settings: dict[str, str], checks: bool) -> None:
    assert has_authorization([TargetNode("10.0.0.1", "5.0.9", settings)]) is checks


def test_triggers_of_ordinary_roles() -> None:
    logs_in = {"authenticator": "PasswordAuthenticator"}
    (problem,) = setting_problems([TargetNode("10.0.0.1", "5.0.9", logs_in)], [TRIGGER], ())
    assert "trigger k.g cannot be created: only superusers may create triggers" in problem
    assert problem.endswith("--skip trigger=k.g")
    for settings, superuser in ((logs_in, True), ({}, False)):
        nodes = [TargetNode("10.0.0.1", "5.0.9", settings, superuser)]
        assert setting_problems(nodes, [TRIGGER], ()) == []
