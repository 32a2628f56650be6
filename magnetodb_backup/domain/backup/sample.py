# SPDX-License-Identifier: Apache-2.0
"""Samples of a backup's packs: reproducible, and successive ones cover all packs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magnetodb_backup.errors import InvalidValue

_WHOLE = 10_000  # hundredths of a percent
_SCALE = 1 << 64
MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Sample:
    """A part of all packs, chosen by their names, which are digests of their bytes.

    The names are a circle that begins at 00… and ends at ff…. A sample is the arc of ``percent`` of
    it that begins where the arc of ``seed`` - 1 ends. So successive seeds cover each pack within
    ``runs`` samples, without a record of what was read; and since digests are evenly spread, an
    arc is a random choice of packs. All nodes and all backups use the same arc.
    """

    percent: float
    seed: int

    @classmethod
    def of(cls, percent: float, seed: int) -> Sample:
        """Return a valid sample.

        :raises InvalidValue: unless ``percent`` is 0.01 to 99.99 in steps of 0.01, and ``seed`` is
            a number of at most 31 bits.
        """
        parts = round(percent * 100) if math.isfinite(percent) else 0
        if not 1 <= parts < _WHOLE or abs(parts / 100 - percent) > 1e-9:
            raise InvalidValue(
                f"a sample of {percent:g} % is not possible; use 0.01 to 99.99 % with at most two "
                "decimals, or read all data without a sample"
            )
        if not 0 <= seed <= MOST_SEED:
            raise InvalidValue(f"the seed of a sample is {seed}; use 0 to {MOST_SEED}")
        return cls(parts / 100, seed)

    @property
    def runs(self) -> int:
        """The number of samples with successive seeds that cover all packs."""
        return -(-_WHOLE // self._parts)

    @property
    def _parts(self) -> int:
        return round(self.percent * 100)

    def has(self, pack: str) -> bool:
        """Return whether a pack, named by its SHA-256 in hexadecimal, is in the sample."""
        position = int(pack[:16], 16) * _WHOLE
        begin = self.seed * self._parts % _WHOLE * _SCALE
        return (position - begin) % (_WHOLE * _SCALE) < self._parts * _SCALE

    def next(self) -> Sample:
        """Return the sample that follows."""
        return Sample(self.percent, (self.seed + 1) % (MOST_SEED + 1))

    def label(self) -> str:
        """Return what a proof by this sample says of itself."""
        return f"sampled {self.percent:g} % of the packs, seed {self.seed}"


def sample_of(parameters: Mapping[str, Any]) -> Sample | None:
    """Return the sample that the parameters of a verification's job ask for."""
    stored = parameters.get("sample")
    return Sample.of(stored["percent"], stored["seed"]) if stored else None
