# SPDX-License-Identifier: Apache-2.0
"""What a conductor owns while it runs a job, and the fence that its writes carry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Resource:
    """Something that one conductor at a time owns. ``key`` has at most 64 ASCII characters."""

    key: str

    @classmethod
    def job(cls, job_id: str) -> Resource:
        """Return a job as a resource."""
        return cls(f"job:{job_id}")

    @classmethod
    def cluster(cls, name: str) -> Resource:
        """Return a cluster as a resource; names are hashed, so they may have any characters."""
        return cls(f"cluster:{hashlib.sha256(name.encode()).hexdigest()[:48]}")


@dataclass(frozen=True)
class Fence:
    """The generations of the resources that ``owner`` claimed together, by resource.

    A write that carries a fence is refused once one of them has another owner or generation.
    """

    owner: str
    generations: tuple[tuple[Resource, int], ...]
