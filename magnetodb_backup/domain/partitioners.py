# SPDX-License-Identifier: Apache-2.0
"""Cassandra's partitioners, as far as their tokens are numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from magnetodb_backup.errors import UnsupportedPartitioner


@dataclass(frozen=True)
class Partitioner:
    """A partitioner. The token of every key is greater than ``lowest``, and at most ``highest``."""

    name: str
    lowest: int
    highest: int


MURMUR3 = Partitioner("Murmur3Partitioner", -(1 << 63), (1 << 63) - 1)
RANDOM = Partitioner("RandomPartitioner", -1, 1 << 127)
_SUPPORTED = {partitioner.name: partitioner for partitioner in (MURMUR3, RANDOM)}


def find_partitioner(class_name: str) -> Partitioner:
    """Return the partitioner by the name of its class, with or without its package.

    An empty name, which older releases report, is that of Cassandra's default.

    :raises UnsupportedPartitioner: for any other one, naming it.
    """
    name = class_name.rpartition(".")[2] or MURMUR3.name
    if name not in _SUPPORTED:
        raise UnsupportedPartitioner(
            f"the cluster uses {name}, which is not supported: its tokens are no numbers. "
            f"Clusters with {' or '.join(_SUPPORTED)} can be backed up"
        )
    return _SUPPORTED[name]


def partitioner_of(tokens: Iterable[int]) -> str:
    """Return the name of the partitioner whose nodes have such tokens; empty if several may."""
    for token in tokens:
        if token < 0:
            return MURMUR3.name
        if token > MURMUR3.highest:
            return RANDOM.name
    return ""
