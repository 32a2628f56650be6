# SPDX-License-Identifier: Apache-2.0
"""How a worker uploads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UploadSettings:
    """``pack_size`` in bytes; ``on_corrupt`` is ``fail`` or ``mark``."""

    pack_size: int = 32 * 1024 * 1024
    concurrency: int = 4
    readers: int = 2
    on_corrupt: str = "fail"
