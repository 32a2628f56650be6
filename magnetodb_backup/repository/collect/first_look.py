# SPDX-License-Identifier: Apache-2.0
"""The stored result of a look: the packs that no backup needs, and since when that is known.

It is kept in the container of the packs, so that it survives the loss of the worker's disk and of
the database, and goes with the container.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from magnetodb_backup.domain.backup.manifest import FORMAT
from magnetodb_backup.errors import FormatProblem, NotFound
from magnetodb_backup.repository.collect.look import Look
from magnetodb_backup.repository.format.lines import (
    LineWriter,
    check_format,
    checked,
    number,
    read_lines,
)
from magnetodb_backup.repository.format.names import FIRST_LOOK, check_sha256
from magnetodb_backup.repository.node import NodeRepository

LOG = logging.getLogger(__name__)


def load_first_look(repository: NodeRepository, look: Look) -> None:
    """Let ``look`` learn what the last stored look has found, if there is one.

    One that cannot be read counts as none: each dead pack then waits for the whole grace period.
    """
    try:
        look.learn_earlier(_read(repository))
    except NotFound:
        return
    except FormatProblem as error:
        LOG.warning("node %s: the earlier look is not used: %s", repository.host_id, error)
        look.forget_earlier()


def store_first_look(
    repository: NodeRepository, look: Look, now: float, spool_directory: Path
) -> None:
    """Store the dead packs that ``look`` has now, or remove the object if there is none."""
    if not look.dead()[0]:
        repository.delete_first_look()
        return
    with tempfile.TemporaryFile(dir=spool_directory) as spool:
        file, count = cast(BinaryIO, spool), 0
        lines = LineWriter(file)
        lines.write({"format": FORMAT, "host_id": repository.host_id}, "")
        for pack, since in look.first_look(now):
            lines.write({"pack": pack, "since": since}, "")
            count += 1
        lines.write({"trailer": {"packs": count}}, "")
        lines.finish()
        repository.put_first_look(file)


def _read(repository: NodeRepository) -> Iterator[tuple[str, float]]:
    documents = read_lines(repository.read_first_look(), FIRST_LOOK)
    header = next(documents, {})
    check_format(header, FIRST_LOOK)
    if header.get("host_id") != repository.host_id:
        raise FormatProblem(f"{FIRST_LOOK}: is that of node {header.get('host_id')}")
    count, ended = 0, False
    for document in documents:
        if ended:
            raise FormatProblem(f"{FIRST_LOOK}: something follows the trailer")
        if "trailer" in document:
            ended = checked(FIRST_LOOK, _total, document) == count
            continue
        yield checked(FIRST_LOOK, _pack, document)
        count += 1
    if not ended:
        raise FormatProblem(f"{FIRST_LOOK}: has {count} packs, its trailer another number")


def _pack(document: Mapping[str, Any]) -> tuple[str, float]:
    since = document["since"]
    if not isinstance(since, int | float) or isinstance(since, bool):
        raise ValueError(f"{since!r} is no time")
    return check_sha256(document["pack"]), float(since)


def _total(document: Mapping[str, Any]) -> int:
    return number(document["trailer"]["packs"])
