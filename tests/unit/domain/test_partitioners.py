# SPDX-License-Identifier: Apache-2.0
"""Partitioners with tokens that are numbers, and the others."""

from __future__ import annotations

import pytest

from magnetodb_backup.domain.partitioners import (
    MURMUR3,
    RANDOM,
    Partitioner,
    find_partitioner,
    partitioner_of,
)
from magnetodb_backup.errors import UnsupportedPartitioner


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("org.apache.cassandra.dht.Murmur3Partitioner", MURMUR3),
        ("org.apache.cassandra.dht.RandomPartitioner", RANDOM),
        ("RandomPartitioner", RANDOM),
        ("", MURMUR3),  # what an older release does not report
    ],
)
def test_partitioners_are_found_by_their_class(name: str, found: Partitioner) -> None:
    assert find_partitioner(name) is found


@pytest.mark.parametrize("name", ["ByteOrderedPartitioner", "OrderPreservingPartitioner"])
def test_partitioners_without_numbers_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedPartitioner, match=f"the cluster uses {name}, which is not"):
        find_partitioner(f"org.apache.cassandra.dht.{name}")


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        ((5, -1), MURMUR3.name),
        ((5, 1 << 63), RANDOM.name),
        ((0, (1 << 63) - 1), ""),  # both have such tokens
        ((), ""),
    ],
)
def test_tokens_show_their_partitioner_where_only_one_has_them(
    tokens: tuple[int, ...], name: str
) -> None:
    assert partitioner_of(tokens) == name
