# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for samples."""

from __future__ import annotations

from collections.abc import Collection

from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.errors import InvalidValue


def check_sample(rungs: Collection[Rung], sample: float | None, seed: int | None) -> None:
    """Check that a sample is one of data that is to be read.

    :raises InvalidValue: naming what is missing.
    """
    if sample is None and seed is not None:
        raise InvalidValue("a seed is only for a sample; say --sample too (REST: sample)")
    if sample is not None and Rung.READ_DATA not in rungs:
        raise InvalidValue(
            "a sample is only for reading data; say --read-data too (REST: the rung read-data)"
        )
