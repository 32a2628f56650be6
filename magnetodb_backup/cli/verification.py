# SPDX-License-Identifier: Apache-2.0
"""The readable form of verifications: problems, remedies, and how far a backup is proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from magnetodb_backup.cli.units import count, moment, size
from magnetodb_backup.domain.as_of import as_of_in
from magnetodb_backup.domain.backup.findings import Finding
from magnetodb_backup.domain.backup.proofs import Outcome, Proof, Rung, grouped, rungs_of
from magnetodb_backup.domain.backup.sample import sample_of
from magnetodb_backup.domain.jobs import Job, JobStatus

STEPS = {
    Rung.EXISTS: ("store", "ask the store for each pack"),
    Rung.READ_DATA: ("store", "read every byte"),
    Rung.SCHEMA: ("schema", "apply the schema to a scratch Cassandra"),
    Rung.PARSE: ("parse", "let Cassandra read every SSTable"),
}
_AFFECTED = ("affected", "find the backups that need what is damaged")
_NEW_BACKUP = "make a new backup: it uploads again what is missing"
_REMEDIES = {
    "sstable": "run nodetool scrub on the named tables of the node and nodetool repair --full, "
    "then make a new backup; a restore of this backup leaves these SSTables out",
    "statement": "change the named setting in cassandra.yaml or install the missing class, or "
    "restore without the object by restore create --skip",
    "unread": "correct what keeps the node from reading, then repeat the verification",
}
_SHOWN = 5  # failed tables


def steps_of(job: Job) -> dict[str, str]:
    """Return name and text of the steps of a verification, in order."""
    steps = dict(STEPS[rung] for rung in STEPS if rung in wanted_rungs(job))
    store = STEPS[Rung.EXISTS][0]
    steps = {store: steps[store], **dict([_AFFECTED]), **steps}
    if sample := sample_of(job.parameters):
        steps[STEPS[Rung.READ_DATA][0]] = f"read {sample.percent:g} % of the packs"
    return steps


def wanted_rungs(job: Job) -> tuple[Rung, ...]:
    """Return the rungs that a verification was asked for."""
    read_data = bool(job.parameters.get("read_data"))
    return rungs_of(job.parameters.get("rungs", ()), read_data=read_data)


def problems_of(job: Job) -> Iterator[str]:
    """Yield the errors that a verification found, and the remedies."""
    if job.status is not JobStatus.DONE:
        yield f"the verification is {job.status.value}: {job.error}"
        return
    result = job.result or {}
    problems = result.get("problems", [])
    for problem in problems:
        where = f"node {problem['host_id']}" if problem["host_id"] else "cluster"
        what = f"{problem['kind']} {problem['pack']}".strip()
        affected = f"; {count(problem['file_count'], 'file')}" if problem["file_count"] else ""
        yield f"{where}: {what}: {problem['detail']}{affected}"
    if (more := result.get("problem_count", 0) - len(problems)) > 0:
        yield f"there are {more} more problems"
    yield from _affected(result.get("affected", {}))
    if as_of_in(job.parameters) is None:
        yield from dict.fromkeys(_REMEDIES.get(p["kind"], _NEW_BACKUP) for p in problems)
    elif not result.get("as_of"):
        yield (
            "the conductor has verified the present store instead of an earlier state; install "
            "the same release of magnetodb-backup everywhere"
        )
    yield from _not_tried(job, result)


def _affected(affected: Mapping[str, int]) -> Iterator[str]:
    """Yield an error for each other backup that needs damaged packs, those that need most first."""
    ordered = sorted(affected.items(), key=lambda item: (-item[1], item[0]))
    for backup_id, packs in ordered[:_SHOWN]:
        yield f"backup {backup_id} needs {count(packs, 'damaged pack')}, too"
    if (more := len(ordered) - _SHOWN) > 0:
        yield f"{count(more, 'more backup')} need damaged packs; see repository findings"


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each kind of damage of what a backup needs, with the number of objects."""
    kinds = Counter((f.object.value, f.problem) for f in findings)
    for (what, problem), number in sorted(kinds.items()):
        yield f"{count(number, what)}: {problem}"
    if findings:
        yield "see repository findings"


def _not_tried(job: Job, result: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error for a rung that a conductor of an older release does not know."""
    tried = result.get("rungs", (Rung.EXISTS.value, Rung.READ_DATA.value))
    enough = {*tried, Rung.READ_DATA.value} if Rung.SAMPLE.value in tried else set(tried)
    if left := [rung.value for rung in wanted_rungs(job) if rung.value not in enough]:
        yield (
            f"the conductor did not try {', '.join(left)}; install the same release of "
            "magnetodb-backup everywhere"
        )


def proof_lines(proofs: Sequence[Proof]) -> Iterator[str]:
    """Yield how far the tables of a backup are proved: lines for each rung, failures first."""
    groups = grouped(proofs)
    for rung in Rung:
        failed = [g for g in groups if g.rung is rung and g.outcome is Outcome.FAILED]
        proved = [g for g in groups if g.rung is rung and g.outcome is Outcome.PROVED]
        for group in failed[:_SHOWN]:
            yield (
                f"{rung.value}: FAILED for {', '.join(group.tables[:_SHOWN])}"
                f"{_more(len(group.tables))} on {moment(group.proved_at)}: {group.detail}"
            )
        if hidden := sum(len(g.tables) for g in failed[_SHOWN:]):
            yield f"{rung.value}: FAILED for {count(hidden, 'more table')}; see --long"
        for group in proved:
            remark = f": {group.detail}" if group.detail else ""
            tables = count(len(group.tables), "table")
            yield f"{rung.value}: {tables} on {moment(group.proved_at)}{remark}"


def running_lines(job: Job) -> Iterator[str]:
    """Yield how far a verification is, and each of its nodes; nothing if it has ended."""
    if job.status.finished:
        return
    progress = job.progress or {}
    if not progress.get("step"):
        yield job.status.value
        return
    ready = ""
    if total := progress.get("nodes_total"):
        ready = f", {progress.get('nodes_done', 0)} of {count(total, 'node')} done"
    as_of = as_of_in(job.parameters)
    moment_read = f", store as of {moment(as_of)}" if as_of else ""
    yield f"{job.status.value}, step {progress['step']}{ready}{moment_read}"
    for node in progress.get("nodes", ()):
        done = "done, " if node["done"] else ""
        amounts = f"{size(node['bytes_done'])} of {size(node['bytes_total'])}"
        yield f"{node['address']}: {done}{amounts}"


def _more(tables: int) -> str:
    return f" and {tables - _SHOWN} more" if tables > _SHOWN else ""
