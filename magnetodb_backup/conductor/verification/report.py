# SPDX-License-Identifier: Apache-2.0
"""The result of a verification's job: the problems of all of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from magnetodb_backup.conductor.job import Results
from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.domain.backup.sample import Sample
from magnetodb_backup.repository.findings import Problem
from magnetodb_backup.tasks.verification import Failure
from magnetodb_backup.tasks.verification_steps import (
    BackupsAffected,
    NodeParsed,
    SchemaTried,
    SSTablesParsed,
    StoreChecked,
)

_DESCRIBED = 1000  # problems of the last two steps


@dataclass(frozen=True)
class WholeReport:
    """What a verification read and found; sizes in bytes.

    The first members are those that each release had. ``rungs`` are those that were tried;
    ``statements`` were applied to a scratch Cassandra, ``nodes`` parsed their SSTables. With a
    ``sample`` the bytes of ``packs_read`` packs were read, and ``read_data`` is false. ``read_by``
    has, by host ID, the node that read a node backup; empty for the conductor. ``as_of`` is the
    moment (ISO 8601) whose state of the store was read, empty for the present one. ``affected`` has
    the other backups that need damaged packs, with the number of these packs.
    """

    backup_id: str
    read_data: bool
    files: int
    bytes: int
    packs: int
    bytes_read: int
    problems: tuple[Problem, ...]
    problem_count: int
    further_packs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rungs: tuple[str, ...] = ()
    statements: int = 0
    sstables: int = 0
    nodes: Mapping[str, NodeParsed] = field(default_factory=dict)
    packs_read: int = 0
    sample: Sample | None = None
    read_by: Mapping[str, str] = field(default_factory=dict)
    as_of: str = ""
    affected: Mapping[str, int] = field(default_factory=dict)


def whole_report(
    rungs: Sequence[Rung], results: Results, as_of: datetime | None = None
) -> WholeReport:
    """Return the report of a verification whose steps have results."""
    checked = results.of(StoreChecked)
    store = checked.report
    tried, parsed = results.find(SchemaTried), results.find(SSTablesParsed)
    more = [*_of_schema(tried), *_of_sstables(parsed)]
    count = store.problem_count
    count += tried.applied.failures.count if tried else 0
    nodes = parsed.nodes if parsed else {}
    if parsed:
        count += parsed.failure_count + sum(bool(node.error) for node in nodes.values())
    return WholeReport(
        backup_id=store.backup_id,
        read_data=store.read_data,
        files=store.files,
        bytes=store.bytes,
        packs=store.packs,
        bytes_read=store.bytes_read,
        problems=(*store.problems, *more[:_DESCRIBED]),
        problem_count=count,
        further_packs=store.further_packs,
        rungs=tuple(rung.value for rung in rungs),
        statements=tried.applied.statements if tried else 0,
        sstables=sum(node.sstables for node in nodes.values()),
        nodes=nodes,
        packs_read=store.packs_read,
        sample=store.sample,
        read_by=checked.read_by,
        as_of=as_of.isoformat() if as_of else "",
        affected=_others(results, store.backup_id),
    )


def _others(results: Results, backup_id: str) -> Mapping[str, int]:
    affected = results.find(BackupsAffected)
    return {b: n for b, n in affected.backups.items() if b != backup_id} if affected else {}


def _of_schema(tried: SchemaTried | None) -> Iterator[Problem]:
    for failure in tried.applied.failures.described if tried else ():
        what = f"{failure.kind} {failure.keyspace}"
        what += f".{failure.name}" if failure.kind != "keyspace" else ""
        yield Problem("", "statement", "", f"{what}: {failure.detail}")


def _of_sstables(parsed: SSTablesParsed | None) -> Iterator[Problem]:
    if parsed is None:
        return
    for host_id, node in parsed.nodes.items():
        if node.error:
            yield Problem(host_id, "unread", "", f"its SSTables were not parsed: {node.error}")
    for host_id, failure in parsed.failures:
        yield Problem(
            host_id, "sstable", "", f"{_label(failure)}: {failure.detail}", _files(failure), 1
        )


def _label(failure: Failure) -> str:
    table = f"{failure.keyspace}.{failure.table}"
    return f"{table} {failure.name}-Data.db" if failure.name else table


def _files(failure: Failure) -> tuple[str, ...]:
    if not failure.name:
        return ()
    return (f"{failure.keyspace}/{failure.table}/{failure.name}-Data.db",)
