# SPDX-License-Identifier: Apache-2.0
"""The rules of requests about retention: which cluster, which policy, which mark."""

from __future__ import annotations

from collections.abc import Sequence

from magnetodb_backup.errors import InvalidValue, NotFound


def choose_known(wanted: str | None, known: Sequence[str]) -> str:
    """Return the cluster that a policy is for: one that has workers or backups.

    :raises NotFound: if there is no such cluster.
    :raises InvalidValue: if there are several and none is named.
    """
    return _choose(wanted, known, "a worker or a backup")


def choose_with_policy(wanted: str | None, with_policy: Sequence[str]) -> str:
    """Return the cluster whose policy is meant: the wanted one, or the only one that has one.

    :raises NotFound: if it has no policy.
    :raises InvalidValue: if several have one and none is named.
    """
    return _choose(wanted, with_policy, "a retention policy, see retention set")


def _choose(wanted: str | None, known: Sequence[str], lacks: str) -> str:
    names = ", ".join(repr(cluster) for cluster in known)
    if wanted is not None:
        if wanted not in known:
            raise NotFound(f"there is no cluster {wanted!r} with {lacks}; known: {names or 'none'}")
        return wanted
    if not known:
        raise NotFound(f"there is no cluster with {lacks}")
    if len(known) > 1:
        raise InvalidValue(f"there are several clusters, name one: {names}")
    return known[0]
