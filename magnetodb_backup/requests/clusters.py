# SPDX-License-Identifier: Apache-2.0
"""Which cluster a request is for."""

from __future__ import annotations

from collections.abc import Sequence

from magnetodb_backup.errors import InvalidValue, NotFound


def choose_cluster(wanted: str | None, known: Sequence[str]) -> str:
    """Return the wanted cluster, or the only one that workers report.

    :raises NotFound: if no worker reports it, or any cluster.
    :raises InvalidValue: if there are several and none is named.
    """
    names = ", ".join(repr(c) for c in known)
    if wanted is not None:
        if wanted not in known:
            raise NotFound(f"no worker reports a cluster {wanted!r}; known: {names or 'none'}")
        return wanted
    if not known:
        raise NotFound(
            "no worker has reported a cluster; start magnetodb-backup-worker on the Cassandra "
            "nodes and magnetodb-backup-conductor"
        )
    if len(known) > 1:
        raise InvalidValue(f"there are several clusters, name one: {names}")
    return known[0]
