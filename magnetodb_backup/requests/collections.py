# SPDX-License-Identifier: Apache-2.0
"""The rules of a request for a collection."""

from __future__ import annotations

import math

from magnetodb_backup.errors import InvalidValue


def check_grace(grace: float | None) -> None:
    """Check the grace period of a request, in seconds; None for that of the configuration.

    :raises InvalidValue: if it is no time.
    """
    if grace is not None and not (math.isfinite(grace) and grace >= 0):
        raise InvalidValue(f"the grace period is {grace:g}; use 0 or more seconds")
