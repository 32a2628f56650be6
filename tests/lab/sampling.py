# SPDX-License-Identifier: Apache-2.0
"""Matrices of which each commit runs a sample, and the nightly run every case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(values: Iterable[Any], *, each_commit: Iterable[Any]) -> list[Any]:
    """Return parameters of which all but those of ``each_commit`` are marked nightly.

    :raises ValueError: if a value of ``each_commit`` is not among ``values``.
    """
    every, kept = list(values), list(each_commit)
    if unknown := [value for value in kept if value not in every]:
        raise ValueError(f"not among the parameters: {unknown}")
    return [v if v in kept else pytest.param(v, marks=pytest.mark.nightly) for v in every]
