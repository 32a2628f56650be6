# SPDX-License-Identifier: Apache-2.0
"""The rules of a request for a collection."""

from __future__ import annotations

import math

from magnetodb_backup.domain.backup.collection import Repacking
from magnetodb_backup.errors import InvalidValue

MOST_LIVE = 90  # percent; more costs much and frees little
LEAST_FREED = 64 * 1024 * 1024  # bytes of a container


def check_grace(grace: float | None) -> None:
    """Check the grace period of a request, in seconds; None for that of the configuration.

    :raises InvalidValue: if it is no time.
    """
    if grace is not None and not (math.isfinite(grace) and grace >= 0):
        raise InvalidValue(f"the grace period is {grace:g}; use 0 or more seconds")


def repacking(percent: int | None, minimum: int | None) -> Repacking | None:
    """Return the repacking that a request asks for; ``minimum`` in bytes.

    :raises InvalidValue: if it cannot be done.
    """
    if percent is None:
        if minimum is not None:
            raise InvalidValue("there is a least amount for repacking, and no percentage; add it")
        return None
    if not 1 <= percent <= MOST_LIVE:
        raise InvalidValue(
            f"packs with {percent} % of live bytes cannot be repacked; use 1 to {MOST_LIVE}"
        )
    least = LEAST_FREED if minimum is None else minimum
    if least < 0:
        raise InvalidValue(f"repacking cannot free at least {least} bytes; use 0 or more")
    return Repacking(percent, least)
