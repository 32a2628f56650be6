# SPDX-License-Identifier: Apache-2.0
"""Names of data centres, and the keyspaces that a backup of some of them leaves out."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.backup.data_centers import (
    as_text,
    checked_names,
    excluded_keyspaces,
    require_known,
)
from magnetodb_backup.domain.tables import KeyspaceDescription, Selection
from magnetodb_backup.errors import InvalidValue, NotFound
from tests.unit.cassandra.tree import table
from tests.unit.worker.fake_node import SIMPLE, member

RING = [member(1), member(2), member(3, dc="dc2")]
BOTH = {"class": "NetworkTopologyStrategy", "dc1": "1", "dc2": "1"}
FAR = {"class": "NetworkTopologyStrategy", "dc2": "1"}


def _excluded(scope: str, **replications: dict[str, str]) -> tuple[str, ...]:
    selection = Selection(
        tuple(KeyspaceDescription(name, found) for name, found in replications.items()),
        tuple(table(name, "t", n) for n, name in enumerate(replications)),
    )
    return excluded_keyspaces(RING, selection, ["dc1"], {"type": scope})


def test_data_centres_as_text() -> None:
    assert as_text(["dc1"]) == "data centre dc1"
    assert as_text(["dc1", "b"]) == "data centres dc1 and b"


def test_each_name_counts_once() -> None:
    assert checked_names(["b", "a", "b"]) == ("b", "a")
    assert checked_names([]) == ()


@pytest.mark.parametrize("name", ["", " dc1", "dc1\n"])
def test_what_no_data_centre_can_be_called(name: str) -> None:
    with pytest.raises(InvalidValue, match="use one that nodetool status shows"):
        checked_names(["dc1", name])


def test_unknown_data_centres_are_named_with_the_known_ones() -> None:
    require_known(["a"], {"a", "b"}, "c")
    with pytest.raises(NotFound) as failure:
        require_known(["x", "a", "y"], {"b", "a"}, "c")
    assert str(failure.value) == "cluster 'c' has no data centres x and y; known: a, b"


def test_keyspaces_with_a_complete_copy_are_never_left_out() -> None:
    everywhere = {"class": "EverywhereStrategy"}
    assert (
        _excluded("keyspaces", a=BOTH, b=everywhere, c={**SIMPLE, "replication_factor": "3"}) == ()
    )


def test_what_the_scope_does_not_name_is_left_out() -> None:
    assert _excluded("all", a=BOTH, far=FAR, system_auth=SIMPLE) == ("far", "system_auth")


@pytest.mark.parametrize("scope", ["keyspaces", "tables", "a_plugin"])
def test_what_the_scope_names_is_refused(scope: str) -> None:
    with pytest.raises(InvalidValue) as failure:
        _excluded(scope, a=BOTH, far=FAR)
    assert "far (no replica there): give them replicas there" in str(failure.value)
    assert "a (" not in str(failure.value)


def test_keyspace_of_users_with_a_part_of_its_ranges_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"half \(1 of 3 token ranges have no replica there"):
        _excluded("all", a=BOTH, half=SIMPLE, system_auth=SIMPLE)


def test_nothing_would_be_left() -> None:
    with pytest.raises(InvalidValue, match=r"far \(no replica there\)"):
        _excluded("all", far=FAR)
