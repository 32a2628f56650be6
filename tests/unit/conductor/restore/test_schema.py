# SPDX-License-Identifier: Apache-2.0
"""What a restore creates, leaves out, refuses, and takes as it finds it in the target's schema."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.domain.restore.records import Existing, Restore, RestoreStatus
from magnetodb_backup.domain.schema.grants import Granted
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.repository.format.names import (
    cluster_container,
    schema_name,
    schema_rows_name,
)
from tests.unit.conductor.cluster import Cluster
from tests.unit.conductor.restoring import Restoring, T, U
from tests.unit.worker import fake_changes
from tests.unit.worker.fake_cql import CLUSTER
from tests.unit.worker.fake_node import SIMPLE
from tests.unit.worker.working import PREFIX

CONTAINER = cluster_container(PREFIX, CLUSTER)
V = TableName("ks", "v")
OTHER = fake_changes.keyspace_text("other", SIMPLE)
# As Cassandra describes a function whose body was given in single quotes.
STRIP = (
    "CREATE FUNCTION other.strip(a text)\n    RETURNS NULL ON NULL INPUT\n    RETURNS text\n"
    '    LANGUAGE java\n    AS $$return a.replaceAll("\\\\$$", "");$$;'
)


def _with_schema(cluster: Cluster, *texts: str) -> None:
    for node in cluster.nodes.values():
        node.schema = "\n\n".join([node.schema.strip(), *texts]) + "\n"


def _problems(restore: Restore) -> list[str]:
    assert restore.plan is not None
    found: list[str] = restore.plan["problems"]
    return found


def _with_view(cluster: Cluster) -> Restoring:
    for node in cluster.nodes.values():
        fake_changes.execute([node], fake_changes.view_text(V, T))
    return Restoring(cluster)


@pytest.mark.parametrize("as_of", ["this release", "an older release"])
def test_a_function_with_dollars_elsewhere_disturbs_nothing(cluster: Cluster, as_of: str) -> None:
    """Backups of older releases have the text only, in which its end is not where $$ is."""
    _with_schema(cluster, OTHER, STRIP)
    restoring = Restoring(cluster)
    if as_of == "an older release":
        cluster.store.delete(CONTAINER, schema_rows_name(restoring.backup.id))
    restoring.drop(T)
    restore = restoring.restore(tables=("ks.t",))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restoring.rows() == restoring.saved


def test_rows_that_are_not_those_of_the_text_are_not_used(cluster: Cluster) -> None:
    """The manifest names the text only, which proves the rows."""
    restoring = Restoring(cluster)
    name = schema_rows_name(restoring.backup.id)
    cluster.store.change(CONTAINER, name, lambda body: body.replace(b"v text", b"v blob"))
    restoring.drop(T)
    assert restoring.restore(tables=("ks.t",)).status is RestoreStatus.RESTORED
    assert "v blob" not in cluster.nodes[1].schema
    text = b"".join(cluster.store.read(CONTAINER, schema_name(restoring.backup.id))).decode()
    assert "v text" in text


def test_a_view_that_one_node_could_not_build_again_is_not_dropped(cluster: Cluster) -> None:
    """Views made before they were switched off still work; the plan names node and setting."""
    restoring = _with_view(cluster)
    cluster.nodes[2].settings["materialized_views_enabled"] = "false"
    restoring.forget()
    for existing in (Existing.REPLACE, Existing.MERGE):
        restore = restoring.restore(tables=("ks.t",), existing=existing)
        assert restore.status is RestoreStatus.RESTORE_FAILED
        assert _problems(restore) == [
            "view ks.v would be dropped and cannot be created again: materialized_views_enabled is "
            "false on 127.0.0.2; change that, or restore without it by --skip view=ks.v"
        ]
    assert restoring.changes() == []


@pytest.mark.parametrize("there", [True, False])
def test_a_view_is_left_out_as_requested(cluster: Cluster, there: bool) -> None:
    """The plan and the record name it; the rest is restored."""
    restoring = _with_view(cluster)
    cluster.nodes[2].settings["materialized_views_enabled"] = "false"
    if not there:
        restoring.drop(V)
        restoring.drop(T)
    request: dict[str, Any] = {"tables": ("ks.t",), "existing": Existing.REPLACE}
    restore = restoring.restore(**request, skip=("view=ks.v", "index=none"))
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert not any(t.name == V for t in cluster.nodes[1].tables)
    assert restore.request.skip == ("view=ks.v", "index=none")
    assert restore.plan is not None
    end = "dropped and not created again, as --skip says; queries by it fail"
    assert restore.plan["warnings"][:2] == [
        f"view ks.v is {end if there else 'not created, as --skip says'}",
        "--skip index=none names nothing that this restore would create",
    ]


def test_settings_of_nodes_that_download_nothing(cluster: Cluster) -> None:
    """Any node may execute a statement, so each one answers for its own cassandra.yaml."""
    function = STRIP.replace("other.", "ks.")
    _with_schema(cluster, function)
    restoring = Restoring(cluster)
    for node in cluster.nodes.values():
        node.schema = node.schema.replace(function, "")
    cluster.nodes[3].settings["user_defined_functions_enabled"] = "false"
    request: dict[str, Any] = {"node": "127.0.0.1", "existing": Existing.MERGE, "dry_run": True}
    (problem,) = _problems(restoring.restore(**request))
    assert problem.startswith(
        "function ks.strip cannot be created: user_defined_functions_enabled is false on 127.0.0.3;"
    )
    assert _problems(restoring.restore(**request, skip=("function=ks.strip",))) == []


@pytest.mark.parametrize("known", [True, False])
def test_grants_of_a_table_that_is_created_again(cluster: Cluster, known: bool) -> None:
    """Cassandra forgets the grants on a dropped table, and gives them all to who creates it."""
    for node in cluster.nodes.values():
        node.settings["authorizer"] = "CassandraAuthorizer"
        node.granted = (Granted("app", "data/ks/t", ("SELECT",)),) if known else None
    restoring = Restoring(cluster)
    restoring.drop(T)
    restoring.truncate(U)
    restore = restoring.restore()
    assert restore.plan is not None
    (warning,) = restore.plan["warnings"]
    lost = (
        "their grants are lost, give them again: GRANT SELECT ON TABLE ks.t TO app;"
        if known
        else "the backup does not know which grants they had, give them again"
    )
    assert warning == f"ks.t: created by the role of this service, which owns them; {lost}"
    restoring.truncate(T, U)
    again = restoring.restore()
    assert again.plan is not None
    assert again.plan["warnings"] == []


def test_a_column_added_since_the_backup_is_taken(cluster: Cluster) -> None:
    """The rows come back, with null there; their fingerprints would be others."""
    restoring = Restoring(cluster, figures=True)
    for node in cluster.nodes.values():
        node.schema = node.schema.replace("v text", "v text, added int", 1)
    refused = restoring.restore(tables=("ks.t",), existing=Existing.REPLACE, check=True)
    assert refused.status is RestoreStatus.RESTORE_FAILED
    assert "ks.t has columns or fields that were added since the backup" in refused.error
    restoring.truncate(T)
    restore = restoring.restore(tables=("ks.t",), existing=Existing.REPLACE)
    assert (restore.status, restore.error) == (RestoreStatus.RESTORED, "")
    assert restore.plan is not None
    assert restore.plan["schema"]["notes"] == [
        "table ks.t: columns added since the backup are null in restored rows: added int"
    ]
