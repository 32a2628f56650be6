# SPDX-License-Identifier: Apache-2.0
"""How far the tables of a backup are proved: the ladder of proof, and its results by table."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import InvalidValue

LONGEST_DETAIL = 500  # characters


class Rung(str, enum.Enum):
    """What a verification proves, each with one word.

    EXISTS: the store has every pack, with the right size. SAMPLE: a sample of the packs has been
    read; a request asks for READ_DATA with a sample. READ_DATA: every byte has been read and has
    the right digest. PARSE: Cassandra's verifier has opened every SSTable and read its rows.
    SCHEMA: the schema applies to an empty Cassandra.
    """

    EXISTS = "exists"
    SAMPLE = "sample"
    READ_DATA = "read-data"
    PARSE = "parse"
    SCHEMA = "schema"


class Outcome(str, enum.Enum):
    """The result of a rung for one table."""

    PROVED = "proved"
    FAILED = "failed"


@dataclass(frozen=True)
class Proof:
    """The newest result of one rung for one table.

    ``table`` is empty for what belongs to a keyspace and to no table: types, functions and
    aggregates. ``detail`` is the reason of a failure; of a SAMPLE it begins with its size.
    """

    keyspace: str
    table: str
    rung: Rung
    outcome: Outcome
    proved_at: datetime
    job_id: str
    detail: str = ""

    @property
    def name(self) -> TableName:
        """The table, or the keyspace with an empty table."""
        return TableName(self.keyspace, self.table)

    def label(self) -> str:
        """Return what is proved, as a text."""
        if not self.table:
            return f"keyspace {self.keyspace}"
        return str(TableName(self.keyspace, self.table))


def rungs_of(names: Iterable[str], *, read_data: bool = False) -> tuple[Rung, ...]:
    """Return the wanted rungs, in their order; EXISTS or READ_DATA is always one of them.

    :raises InvalidValue: for a name that is none.
    """
    known = {rung.value: rung for rung in Rung if rung is not Rung.SAMPLE}
    wanted = set()
    for name in names:
        if name not in known:
            raise InvalidValue(f"{name!r} is not a rung; use one of {', '.join(known)}")
        wanted.add(known[name])
    if read_data:
        wanted.add(Rung.READ_DATA)
    if Rung.READ_DATA in wanted:
        wanted.discard(Rung.EXISTS)
    else:
        wanted.add(Rung.EXISTS)
    return tuple(rung for rung in Rung if rung in wanted)


def proofs_of(
    rung: Rung,
    tables: Collection[TableName],
    failed: Mapping[TableName, str],
    *,
    at: datetime,
    job_id: str,
    without: Collection[TableName] = (),
    remark: str = "",
) -> tuple[Proof, ...]:
    """Return the proof of each table, and of failed objects of keyspaces.

    ``failed`` has the reasons; tables in ``without`` are neither proved nor disproved. Each proof
    says the ``remark``.
    """
    names = dict.fromkeys([*tables, *failed])
    return tuple(
        Proof(
            *name,
            rung,
            Outcome.FAILED if name in failed else Outcome.PROVED,
            at,
            job_id,
            ": ".join(filter(None, (remark, failed.get(name, ""))))[:LONGEST_DETAIL],
        )
        for name in names
        if name in failed or name not in without
    )


def proofs_of_sample(
    remark: str,
    tables: Collection[TableName],
    failed: Mapping[TableName, str],
    earlier: Iterable[Proof],
    *,
    at: datetime,
    job_id: str,
    still_damaged: bool,
) -> tuple[Proof, ...]:
    """Return the proofs of a sample with this ``remark``; they are never those of READ_DATA.

    A failure disproves what an ``earlier`` verification of all data has proved. While a pack that
    the backup needs is ``still_damaged``, failures of earlier samples, of other packs, stay.
    """
    known = list(earlier)
    stay = {
        p.name for p in known
        if still_damaged and p.rung is Rung.SAMPLE and p.outcome is Outcome.FAILED
    }  # fmt: skip
    read = {p.name for p in known if p.rung is Rung.READ_DATA}
    disproved = {name: text for name, text in failed.items() if name in read}
    own = proofs_of(Rung.SAMPLE, tables, failed, at=at, job_id=job_id, without=stay, remark=remark)
    return own + proofs_of(Rung.READ_DATA, (), disproved, at=at, job_id=job_id)


@dataclass(frozen=True)
class ProofGroup:
    """Tables with the same result of a rung, from one verification."""

    rung: Rung
    outcome: Outcome
    proved_at: datetime
    job_id: str
    detail: str
    tables: tuple[str, ...]


def grouped(proofs: Sequence[Proof]) -> tuple[ProofGroup, ...]:
    """Return the proofs by rung, failures first, newest first."""
    groups: dict[tuple[Rung, Outcome, datetime, str, str], list[str]] = {}
    order = list(Rung)
    for p in sorted(proofs, key=lambda p: (p.keyspace, p.table)):
        key = (p.rung, p.outcome, p.proved_at, p.job_id, p.detail)
        groups.setdefault(key, []).append(p.label())
    found = [ProofGroup(*key, tables=tuple(tables)) for key, tables in groups.items()]
    return tuple(
        sorted(
            found,
            key=lambda g: (
                order.index(g.rung),
                g.outcome is Outcome.PROVED,
                -g.proved_at.timestamp(),
                g.tables,
            ),
        )
    )
