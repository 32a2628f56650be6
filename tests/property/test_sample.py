# SPDX-License-Identifier: Apache-2.0
"""Samples are reproducible, of the wanted size, and successive ones cover all packs."""

from __future__ import annotations

import hashlib
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magnetodb_backup.domain.backup.sample import MOST_SEED, Sample
from magnetodb_backup.errors import InvalidValue

PERCENTAGES = st.integers(1, 9999).map(lambda parts: parts / 100)
SEEDS = st.integers(0, MOST_SEED)
NAMES = st.binary(min_size=32, max_size=32).map(bytes.hex)
MANY = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(5000)]


@given(PERCENTAGES, st.integers(0, MOST_SEED - 10_000), NAMES)
@example(33.33, 0, "f" * 64)
@example(50.0, 1, "8" + "0" * 63)
@example(0.01, 7, "0" * 64)
def test_successive_samples_cover_every_pack(percent: float, first: int, pack: str) -> None:
    sample = Sample.of(percent, first)
    assert sample.runs == math.ceil(round(10_000 / round(percent * 100), 9))
    covered = 0
    for _ in range(sample.runs):
        covered += sample.has(pack)
        sample = sample.next()
    assert 1 <= covered <= 2  # the last one may reach into the first


@given(PERCENTAGES, SEEDS, NAMES)
def test_a_sample_is_reproducible(percent: float, seed: int, pack: str) -> None:
    assert Sample.of(percent, seed).has(pack) is Sample.of(percent, seed).has(pack)
    assert Sample.of(percent, seed) == Sample(percent, seed)


@given(st.integers(5, 95), SEEDS)
def test_a_sample_has_about_its_share_of_the_packs(percent: int, seed: int) -> None:
    sample = Sample.of(percent, seed)
    share = sum(map(sample.has, MANY)) / len(MANY)
    assert abs(share - percent / 100) < 0.04


@given(SEEDS, NAMES)
def test_halves_do_not_overlap(seed: int, pack: str) -> None:
    half = Sample.of(50, seed)
    assert half.has(pack) is not half.next().has(pack)


def test_the_last_seed_is_followed_by_the_first() -> None:
    assert Sample.of(10, MOST_SEED).next() == Sample.of(10, 0)


@pytest.mark.parametrize("percent", [0, -1, 100, 150, 0.001, 12.345, float("nan")])
def test_impossible_percentages_are_refused(percent: float) -> None:
    with pytest.raises(InvalidValue, match="two decimals"):
        Sample.of(percent, 0)


@pytest.mark.parametrize("seed", [-1, MOST_SEED + 1])
def test_impossible_seeds_are_refused(seed: int) -> None:
    with pytest.raises(InvalidValue, match=str(seed)):
        Sample.of(5, seed)
