# SPDX-License-Identifier: Apache-2.0
"""Reads token ranges side by side and digests their rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from magnetodb_backup.domain.fingerprints import Fingerprint, RowDigest, TokenRange
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.worker.node import RowSource

Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(
    items: Iterable[Item], read: Callable[[Item], Found], concurrency: int
) -> Iterator[tuple[Item, Found]]:
    """Yield each item with what ``read`` returned, in order; ``concurrency`` are read at once."""
    pending: deque[tuple[Item, Future[Found]]] = deque()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="fingerprints") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(read, item)))
                if len(pending) > 2 * concurrency:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def digest_range(reader: RowSource, table: TableName, range_: TokenRange) -> Fingerprint:
    """Return the fingerprint of all rows of a range.

    :raises BackupError: if the range cannot be read.
    """
    digest = RowDigest()
    for page in reader.pages(table, range_):
        digest.add(page)
    return digest.fingerprint()
