# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for samples: what is valid, and which sample comes next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.errors import InvalidValue

LOOKED_AT = 200  # newest verifications of a cluster, among which the last sample is looked for


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


def series_of(backup: Backup, percent: float) -> str:
    """Return what names the samples that together cover the data of like backups.

    These are backups of one cluster with the same scope, sampled by the same percentage.
    """
    what = json.dumps([dict(backup.scope), list(backup.data_centers), percent], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def choose_sample(
    percent: float,
    seed: int | None,
    series: str,
    earlier: Iterable[Mapping[str, Any]],
    draw: Callable[[], int],
) -> Sample:
    """Return the sample of this seed or, without one, that after the last of its series.

    ``earlier`` are parameters of verifications, newest first. ``draw`` returns the seed of the
    first sample of a series.

    :raises InvalidValue: for a percentage or a seed that is not possible.
    """
    if seed is not None:
        return Sample.of(percent, seed)
    for parameters in earlier:
        sample = parameters.get("sample") or {}
        if sample.get("series") == series:
            return Sample.of(percent, sample["seed"]).next()
    return Sample.of(percent, draw())
