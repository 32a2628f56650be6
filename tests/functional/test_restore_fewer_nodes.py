# SPDX-License-Identifier: Apache-2.0
"""Restores into a ring of fewer nodes, and between versions, by nothing but the store.

Those of 4.1 are nightly: the rules for versions are proved by unit/conductor/restore, the loader
of 4.1 by contract/test_sstableloader and the import by contract/test_node_control_restore.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.rings import (
    Source,
    compare_everywhere,
    is_restored,
    make_source,
    other_ring,
    rebuild,
    restored,
    sent,
)
from tests.functional.runbook import follow
from tests.lab.artifacts import CASSANDRA_4_1
from tests.lab.cassandra_flags import Shape
from tests.lab.keystone import Keystone
from tests.lab.ports import LoopbackBlock
from tests.lab.rig import Rig

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def source(rig: Rig) -> Source:
    return make_source(rig, "fewer")


@pytest.fixture(scope="module")
def two(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackBlock, keystone: Keystone
) -> Iterator[Rig]:
    """Two nodes: other tokens, another name."""
    with other_ring(
        tmp_path_factory.mktemp("two"),
        Shape(2, name="Ring of two", first_host=140),
        rig=rig,
        block=loopback,
        keystone=keystone,
    ) as ring:
        yield ring


@pytest.fixture(scope="module")
def old(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackBlock, keystone: Keystone
) -> Iterator[Rig]:
    """Two nodes of 4.1 with the tokens of ``two``."""
    with other_ring(
        tmp_path_factory.mktemp("old"),
        Shape(2, CASSANDRA_4_1, name="Old ring", first_host=145),
        rig=rig,
        block=loopback,
        keystone=keystone,
    ) as ring:
        yield ring


@pytest.fixture(scope="module")
def old_source(old: Rig) -> Source:
    return make_source(old, "elder", "--figures", sai=False)


def test_three_nodes_to_two(source: Source, two: Rig) -> None:
    names = {"OLD_CLUSTER": "'lab cluster'", "NEW_CLUSTER": "'Ring of two'"}
    record = is_restored(two, follow("recover-dead-cluster", two, BACKUP=source.id, **names))
    plan = record["plan"]
    assert plan["method_by_keyspace"] == {"fewer": "stream"}
    assert plan["bytes"] == sum(table["bytes"] for table in plan["tables"]) > 0
    # Two copies of each row are fetched, and each is sent to two nodes.
    assert plan["bytes_sent"] == 2 * plan["bytes"]
    assert plan["amplification"] == 3.0
    assert "2 nodes do not have the tokens" in plan["warnings"][0]
    assert record["source_cluster"] == "lab cluster"
    assert record["cluster"] == "Ring of two"
    assert sent(record) > 0
    compare_everywhere(two, source)
    with two.cluster.session() as session:
        rows = session.execute("SELECT * FROM system_distributed.parent_repair_history")
        repairs = [row.options for row in rows if row.keyspace_name == "fewer"]
    options = [(each["primaryRange"], each["incremental"]) for each in repairs]
    assert options == [("true", "false")] * len(two.cluster.nodes)


def test_replaced_beside_a_storage_attached_index(source: Source, two: Rig) -> None:
    """Rows are streamed to a table that exists: its index goes, and comes back."""
    two.execute(
        "DELETE FROM fewer.parts WHERE id = 1",
        "INSERT INTO fewer.parts (id, text) VALUES (2, 'newer')",
        "INSERT INTO fewer.parts (id, text) VALUES (9999, 'p7')",
        "DROP INDEX fewer.parts_text",
        "CREATE INDEX own ON fewer.parts (text) USING 'sai'",
    )
    refused = two.deployment.restore(
        "--cluster", two.cluster.name, source.id, "--table", "fewer.parts"
    )
    assert refused.code == 1
    assert "fewer.parts has data" in refused.err
    record = restored(two, source.id, "--table", "fewer.parts", "--existing", "replace")
    assert "index fewer.own is dropped" in " ".join(record["plan"]["schema"]["notes"])
    compare_everywhere(two, source)
    with two.cluster.session() as session:
        found = session.execute(
            "SELECT index_name FROM system_schema.indexes "
            "WHERE keyspace_name = 'fewer' AND table_name = 'parts'"
        )
        assert {row.index_name for row in found} == {"own"}


@pytest.mark.nightly
def test_backup_of_4_1_is_imported_into_5_0(old_source: Source, two: Rig) -> None:
    """Both versions tell the same of each row, so the figures prove that all are there."""
    rebuild(two, old_source.id)
    record = restored(two, old_source.id, "--check")
    assert record["plan"]["method_by_keyspace"] == {"elder": "import"}
    assert record["source_cluster"] == "Old ring"
    assert sent(record) == 0
    assert all(node["sstables_imported"] for node in record["nodes"])
    assert len(record["checks"]) == len(old_source.depot.tables)
    for check in record["checks"].values():
        assert check["different"] == check["changing"] == check["unread"] == 0
        assert check["rows_found"] == check["rows_expected"] > 0
    compare_everywhere(two, old_source)


@pytest.mark.nightly
def test_backup_of_4_1_is_streamed_into_5_0(old_source: Source, two: Rig) -> None:
    """To a keyspace with another replication."""
    rebuild(two, old_source.id)
    two.execute(
        "CREATE KEYSPACE younger WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}"
    )
    record = restored(two, old_source.id, "--to-keyspace", "younger")
    assert record["plan"]["method_by_keyspace"] == {"elder": "stream"}
    assert sent(record) > 0
    compare_everywhere(two, old_source, "younger")


@pytest.mark.nightly
def test_backup_of_5_0_is_refused_by_4_1(source: Source, old: Rig) -> None:
    rebuild(old, source.id)
    refused = old.deployment.restore("--cluster", old.cluster.name, source.id)
    assert refused.code == 1
    record = refused.json
    assert (record["status"], record["phase"]) == ("RESTORE_FAILED", "preflight")
    assert "runs Cassandra 4.1.10, the backup is of 5.0.9" in record["error"]
    assert "upgrade the target" in record["error"]
    assert set(record["tables"].values()) == {"untouched"}
    assert old.deployment.staged() == []
    with old.cluster.session() as session:
        keyspaces = session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
        assert "fewer" not in {row.keyspace_name for row in keyspaces}
