# SPDX-License-Identifier: Apache-2.0
"""Snapshots to upload: files laid out as Cassandra lays them, of bytes that do not compress."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from magnetodb_backup.domain.tables import TableDescription, TableName

TAG = "benchmark"
# Shares of the components of an SSTable beside Data.db, as of a table of small rows.
_SHARES = {
    "CompressionInfo.db": 0.0006,
    "Filter.db": 0.002,
    "Index.db": 0.012,
    "Statistics.db": 0.001,
    "Summary.db": 0.0002,
}
_TOC = "Data.db\nDigest.crc32\nTOC.txt\n"


@dataclass(frozen=True)
class DataSet:
    """A set of SSTables: ``sizes`` in bytes of each one, spread over ``tables`` tables."""

    name: str
    title: str
    sizes: Sequence[int]
    tables: int

    def descriptions(self) -> tuple[TableDescription, ...]:
        """Return the tables, as a selection has them."""
        return tuple(
            TableDescription(TableName("benchmark", f"t{n}"), f"{n:032x}")
            for n in range(min(self.tables, len(self.sizes)))
        )

    def write(self, directory: Path) -> tuple[int, int]:
        """Make the files below a data directory; return their number and bytes."""
        chance = random.Random(self.name)
        tables = self.descriptions()
        count = total = 0
        for number, size in enumerate(self.sizes):
            table = tables[number % len(tables)]
            place = directory / "benchmark" / f"{table.name.table}-{table.id}" / "snapshots" / TAG
            place.mkdir(parents=True, exist_ok=True)
            for component, body in _sstable(size, chance):
                (place / f"nb-{number + 1}-big-{component}").write_bytes(body)
                count, total = count + 1, total + len(body)
        return count, total


def _sstable(size: int, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    others = {name: max(16, int(size * share)) for name, share in _SHARES.items()}
    data = chance.randbytes(max(64, size - sum(others.values())))
    yield "Data.db", data
    yield "Digest.crc32", str(zlib.crc32(data)).encode()
    yield "TOC.txt", _TOC.encode()
    for name, length in others.items():
        yield name, chance.randbytes(length)


def data_sets(scale: float = 1.0) -> tuple[DataSet, ...]:
    """Return the sets; ``scale`` multiplies the number of SSTables of each."""
    chance = random.Random(1)
    # From 0.2 to 64 MB, spread over a logarithmic scale so that 60 make about 600 MB.
    spread = [int(200_000 * 320 ** ((n / 59) ** 1.2)) for n in range(60)]
    chance.shuffle(spread)
    large = spread[: max(2, int(60 * scale))]
    small = [chance.randint(60_000, 100_000) for _ in range(max(2, int(750 * scale)))]
    return (
        DataSet("sstables", f"{len(large)} SSTables of 0.2 to 64 MB", large, 6),
        DataSet("small", f"{len(small) * 8} small files", small, 10),
    )
