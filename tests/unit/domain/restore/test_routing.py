# SPDX-License-Identifier: Apache-2.0
"""Replication compared, for the choice between import and streaming."""

from __future__ import annotations

from magnetodb_backup.domain.restore.source_ring import factors


def test_data_centre_without_replicas_changes_nothing() -> None:
    """A factor of 0 is no difference: the rows need not be streamed for it."""
    network = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1": "3/1"}
    assert factors({**network, "dc2": "0"}) == factors(network)
    assert factors(network) == {"class": "NetworkTopologyStrategy", "dc1": "3/1"}
