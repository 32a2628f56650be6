# SPDX-License-Identifier: Apache-2.0
"""Names of containers and objects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.repository.format import names as layout

HOST = "11111111-1111-4111-8111-111111111111"
BACKUP = "00000000-0000-4000-8000-000000000001"
PACK = "ab" * 32


def test_names_of_format_1() -> None:
    """They are documented: whoever restores by hand relies on them."""
    assert layout.cluster_container("pre", "Test") == "pre.Test"
    assert layout.node_container("pre", "Test", HOST) == f"pre.Test.{HOST}"
    assert layout.manifest_name(BACKUP) == f"backups/{BACKUP}/manifest.json"
    assert layout.schema_name(BACKUP) == f"backups/{BACKUP}/schema.cql"
    assert layout.node_manifest_name(BACKUP, HOST) == f"backups/{BACKUP}/nodes/{HOST}.jsonl.zst"
    assert layout.pack_name(PACK) == f"packs/ab/{PACK}"


@pytest.mark.parametrize(
    ("cluster", "container"),
    [
        ("Test Cluster", "p.Test%20Cluster"),
        ("a/b", "p.a%2Fb"),
        ("a.b", "p.a%2Eb"),
        ("100%", "p.100%25"),
        ("Größe", "p.Gr%C3%B6%C3%9Fe"),
        ("..", "p.%2E%2E"),
    ],
)
def test_cluster_names_are_encoded(cluster: str, container: str) -> None:
    assert layout.cluster_container("p", cluster) == container


def test_no_cluster_has_the_container_of_anothers_node() -> None:
    assert layout.cluster_container("p", f"c.{HOST}") != layout.node_container("p", "c", HOST)
    assert layout.cluster_container("p", "a%2Eb") != layout.cluster_container("p", "a.b")


@pytest.mark.parametrize("cluster", ["Test Cluster", "a/b", "a.b", "100%", "Größe", "..", "10"])
def test_a_cluster_is_known_by_its_container(cluster: str) -> None:
    container = layout.cluster_container("p", cluster)
    assert container.startswith(layout.containers_prefix("p"))
    assert layout.parse_cluster_container("p", container) == cluster
    assert layout.parse_cluster_container("p2", container) is None
    assert layout.parse_cluster_container("", container) is None
    node = layout.node_container("p", cluster, HOST)
    assert layout.parse_cluster_container("p", node) is None


@pytest.mark.parametrize(
    "name",
    ["", "p", "p.", "P.a", "pp.a", "p.a b", "p.a/b", "p.%61", "p.a%2eb", "p.%", "p.%FF", "p.a.b",
     "p.Größe", "p." + "c" * 220],
)  # fmt: skip
def test_containers_that_we_would_name_otherwise_are_foreign(name: str) -> None:
    assert layout.parse_cluster_container("p", name) is None


def test_cluster_needs_a_name() -> None:
    with pytest.raises(InvalidValue, match="needs a name"):
        layout.cluster_container("p", "")


def test_longest_container_name_fits_into_swift() -> None:
    longest = "c" * (256 - 37 - 2)
    assert len(layout.node_container("p", longest, HOST)) == 256
    with pytest.raises(InvalidValue, match=r"set a shorter \[storage\] prefix"):
        layout.cluster_container("p", longest + "c")
    with pytest.raises(InvalidValue, match="too long"):
        layout.cluster_container("p", "ü" * 60)


@pytest.mark.parametrize(
    "name",
    [layout.backup_prefix, layout.manifest_name, layout.schema_name],
)
@pytest.mark.parametrize(
    "bad",
    ["", "..", "1", BACKUP.replace("-", ""), BACKUP + "/x", BACKUP + "\n", "../" + BACKUP[3:]],
)
def test_backup_ids_are_checked(name: Callable[[str], str], bad: str) -> None:
    with pytest.raises(InvalidValue, match="is not the ID of a backup"):
        name(bad)


@pytest.mark.parametrize("bad", ["", "..", HOST.upper().replace("1", "A"), HOST[:-1], HOST + "0"])
def test_host_ids_are_checked(bad: str) -> None:
    with pytest.raises(InvalidValue, match="is not the ID of a node"):
        layout.node_manifest_name(BACKUP, bad)
    with pytest.raises(InvalidValue, match="is not the ID of a node"):
        layout.node_container("p", "c", bad)


@pytest.mark.parametrize("bad", ["", PACK.upper(), PACK[:-1], PACK + "0", "../" + PACK[3:]])
def test_pack_names_are_checked(bad: str) -> None:
    with pytest.raises(InvalidValue, match="is not a SHA-256"):
        layout.pack_name(bad)


@pytest.mark.parametrize(
    ("prefix", "cluster"), [("p", "c"), ("p", "a b"), ("p.q", "c"), ("p", f"c.{HOST}")]
)
def test_trap_3_containers_of_nodes_are_recognised_whole(prefix: str, cluster: str) -> None:
    own = layout.node_container(prefix, cluster, HOST)
    assert layout.parse_node_container(prefix, cluster, own) == HOST
    assert own.startswith(layout.node_containers_prefix(prefix, cluster))
    for other in (
        f"{own}0",
        own[:-1],
        own.upper(),
        HOST,
        layout.cluster_container(prefix, cluster),
        layout.node_container(prefix, f"{cluster}x", HOST),
        layout.node_container(prefix, f"{cluster}.{HOST}", HOST),
        layout.node_container(f"{prefix}x", cluster, HOST),
    ):
        assert layout.parse_node_container(prefix, cluster, other) is None


def test_names_of_packs_are_recognised_whole() -> None:
    pack = "ab" * 32
    assert layout.parse_pack_name(layout.pack_name(pack)) == pack
    for other in (f"packs/ac/{pack}", f"packs/ab/x/{pack}", pack, f"packs/ab/{pack}0", "packs/"):
        assert layout.parse_pack_name(other) is None


def test_moves_are_no_backup() -> None:
    assert not layout.is_backup_id(layout.MOVES_ID)
    assert layout.moves_name(HOST).startswith(f"backups/{layout.MOVES_ID}/nodes/")
