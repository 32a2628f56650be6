# SPDX-License-Identifier: Apache-2.0
"""Versions of SSTables: which release of Cassandra reads which.

Cassandra compares the first letter only. 4.0, 4.1 and 5.0 read everything from ``ma`` (3.0) on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

# The first letter of the version, and the first major release that writes or reads it.
_SINCE = {"m": 3, "n": 4, "o": 5, "d": 5}
_TOO_OLD = "jkl"  # 2.0 to 2.2; Cassandra 4.0 does not even start with them
_FIRST_WITHOUT_THEM = 4


def sstable_version(component: str) -> str:
    """Return the version in the name of a component, as ``nb`` in ``nb-1-big-Data.db``."""
    return component.partition("-")[0]


def unreadable(versions: Iterable[str], major: int) -> dict[str, str]:
    """Return the versions that a major release of Cassandra cannot read, with the remedy."""
    found = {}
    for version in sorted(versions):
        since = _SINCE.get(version[:1])
        if since is not None and major < since:
            found[version] = f"restore into version {since} or later"
        elif version[:1] in _TOO_OLD and major >= _FIRST_WITHOUT_THEM:
            found[version] = "run nodetool upgradesstables on the source and make a new backup"
    return found


def may_not_restore(version: str) -> bool:
    """Return whether this service would not restore SSTables of a version without objection."""
    return version[:1] not in _SINCE


def unknown(versions: Collection[str]) -> list[str]:
    """Return the versions that this service does not know, sorted."""
    return sorted(v for v in versions if v[:1] not in _SINCE and v[:1] not in _TOO_OLD)
