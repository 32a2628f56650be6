# SPDX-License-Identifier: Apache-2.0
"""What a verification's job is asked for, and which sample of the data comes next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.sample import Sample

LOOKED_AT = 200  # newest verifications of a cluster, among which the last sample is looked for


def parameters_of(
    rungs: Collection[Rung], sample: Sample | None = None, series: str = ""
) -> dict[str, Any]:
    """Return the parameters of a verification's job; ``series`` is that of the sample."""
    parameters: dict[str, Any] = {
        "read_data": Rung.READ_DATA in rungs,
        "rungs": [rung.value for rung in rungs],
    }
    if sample is not None:
        parameters["sample"] = {**asdict(sample), "series": series}
    return parameters


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
