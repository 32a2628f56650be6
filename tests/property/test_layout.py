# SPDX-License-Identifier: Apache-2.0
"""Names of containers and objects: reversible, and never another's."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from magnetodb_backup.errors import InvalidValue
from magnetodb_backup.repository.format import names as layout
from tests.property.manifests import digests, uuids

ID = "00000000-0000-0000-0000-000000000000"
prefixes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}", fullmatch=True)
clusters = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
# Names that are made of what the layout itself uses.
tricky = st.lists(
    st.sampled_from([".", "/", "%", "%2E", "..", "a", "A", " ", "-"]) | uuids,
    min_size=1,
    max_size=4,
).map("".join)
any_cluster = clusters | tricky


@given(prefixes, any_cluster, uuids)
def test_names_lead_back_to_what_they_are_made_of(prefix: str, cluster: str, host: str) -> None:
    first, encoded = layout.cluster_container(prefix, cluster).split(".")
    assert (first, unquote(encoded)) == (prefix, cluster)
    first, encoded, last = layout.node_container(prefix, cluster, host).split(".")
    assert (first, unquote(encoded), last) == (prefix, cluster, host)


@given(prefixes, prefixes, any_cluster, uuids)
def test_a_container_is_of_its_prefix_and_cluster_alone(
    prefix: str, other: str, cluster: str, host: str
) -> None:
    container = layout.cluster_container(prefix, cluster)
    assert layout.parse_cluster_container(prefix, container) == cluster
    node = layout.node_container(prefix, cluster, host)
    assert layout.parse_cluster_container(prefix, node) is None
    if other != prefix:
        assert layout.parse_cluster_container(other, container) is None


@given(prefixes, st.text())
@example("p", "p.%ED%A0%80")
def test_nothing_but_our_own_names_is_a_cluster(prefix: str, rest: str) -> None:
    name = f"{prefix}.{rest}"
    cluster = layout.parse_cluster_container(prefix, name)
    assert cluster is None or layout.cluster_container(prefix, cluster) == name


@given(prefixes, any_cluster, uuids)
@example("p", "..", ID)
def test_names_are_plain_everywhere(prefix: str, cluster: str, host: str) -> None:
    name = layout.node_container(prefix, cluster, host)
    assert re.fullmatch(r"[A-Za-z0-9_.~%-]+", name)
    assert name[0] != "."
    assert len(name) <= 256


@given(prefixes, prefixes, any_cluster, any_cluster, uuids, uuids)
@example("p", "p", "c", f"c.{ID}", ID, ID)
@example("p", "p", "10", "102", ID, ID)
@example("p", "p", "a.b", "a%2Eb", ID, ID)
def test_no_two_clusters_and_nodes_share_a_container(
    prefix: str, other_prefix: str, cluster: str, other: str, host: str, other_host: str
) -> None:
    assume((prefix, cluster) != (other_prefix, other))
    mine = {layout.cluster_container(prefix, cluster), layout.node_container(prefix, cluster, host)}
    others = {
        layout.cluster_container(other_prefix, other),
        layout.node_container(other_prefix, other, host),
        layout.node_container(other_prefix, other, other_host),
    }
    assert not mine & others


@given(prefixes, any_cluster, uuids, uuids)
def test_each_node_has_a_container_of_its_own(
    prefix: str, cluster: str, host: str, other: str
) -> None:
    mine, its = (layout.node_container(prefix, cluster, h) for h in (host, other))
    assert (mine == its) == (host == other)
    assert layout.cluster_container(prefix, cluster) not in (mine, its)


@given(uuids, uuids, uuids, uuids)
def test_object_names_lead_back_and_are_no_prefix_of_another_backups(
    backup: str, other: str, host: str, other_host: str
) -> None:
    assume(backup != other)
    objects = [
        layout.manifest_name(backup),
        layout.schema_name(backup),
        layout.node_manifest_name(backup, host),
        layout.node_manifest_name(backup, other_host),
    ]
    assert len(set(objects)) == (4 if host != other_host else 3)
    for name in objects:
        assert name.split("/")[:2] == ["backups", backup]
        assert name.startswith(layout.backup_prefix(backup))
        assert not name.startswith(layout.backup_prefix(other))
    assert objects[2].split("/")[2:] == ["nodes", f"{host}.jsonl.zst"]


@given(digests)
def test_a_pack_is_named_by_its_digest(sha256: str) -> None:
    assert layout.pack_name(sha256).split("/") == ["packs", sha256[:2], sha256]


@given(st.text())
@example(f"{ID}\n")
@example(ID[:-1] + "A")
@example("../" + "0" * 64)
@example("٠" * 64)
def test_nothing_but_ids_and_digests_gets_into_a_name(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"is not the ID of a node"):
        layout.node_container("p", "c", text)
    for make in (layout.manifest_name, layout.schema_name, layout.backup_prefix):
        with pytest.raises(InvalidValue, match=r"is not the ID of a backup"):
            make(text)
    with pytest.raises(InvalidValue, match=r"is not a SHA-256"):
        layout.pack_name(text)


def test_a_cluster_needs_a_name_that_fits() -> None:
    with pytest.raises(InvalidValue, match=r"a cluster needs a name"):
        layout.cluster_container("p", "")
    layout.node_container("p" * 64, "c" * 154, ID)
    with pytest.raises(InvalidValue, match=r"too long for Swift; set a shorter \[storage\] prefix"):
        layout.cluster_container("p" * 64, "c" * 155)
    with pytest.raises(InvalidValue, match=r"too long"):
        layout.cluster_container("p", " " * 80)
