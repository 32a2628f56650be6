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


def choose_target(wanted: str | None, own: str, known: Sequence[str]) -> str:
    """Return the wanted cluster, or the one that the backup to be restored is of.

    Another cluster is never chosen, even if it is the only one: its tables could be replaced.

    :raises NotFound: if no worker reports the cluster, or any cluster.
    :raises InvalidValue: if none is named, and no worker reports the backup's own.
    """
    if wanted is None and known and own not in known:
        raise InvalidValue(
            f"no worker reports the backup's own cluster {own!r}; name the cluster to restore "
            f"into by --cluster (REST: cluster): {', '.join(repr(c) for c in known)}"
        )
    return choose_cluster(wanted or own, known) if known else choose_cluster(wanted, known)
