# SPDX-License-Identifier: Apache-2.0
"""Matches the ring with the workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import DuplicateWorker, MissingWorker


@dataclass(frozen=True)
class Census:
    """Ring members with their worker's ID, and those without a usable worker with the reason."""

    present: tuple[tuple[RingMember, str], ...]
    missing: tuple[tuple[RingMember, str], ...]


def take_census(ring: Sequence[RingMember], nodes: Sequence[Node]) -> Census:
    """Find each ring member's live worker by host ID.

    :raises DuplicateWorker: if two live workers report one host ID.
    """
    live: dict[str, list[Node]] = defaultdict(list)
    dead: dict[str, Node] = {}
    for node in nodes:
        member = node.report.member
        if member is None:
            continue
        if node.live:
            live[member.host_id].append(node)
        else:
            dead[member.host_id] = node
    present, missing = [], []
    for member in sorted(ring, key=lambda m: m.host_id):
        workers = live.get(member.host_id, [])
        if len(workers) > 1:
            names = " and ".join(f"{n.report.worker_id} on {n.report.hostname}" for n in workers)
            raise DuplicateWorker(
                f"node {member.address} (host ID {member.host_id}) has {len(workers)} live "
                f"workers: {names}; stop all but one of them"
            )
        if not workers:
            last = dead.get(member.host_id)
            reason = (
                f"its worker last reported at {last.last_seen:%Y-%m-%d %H:%M:%S} UTC"
                if last
                else "no worker has ever reported it"
            )
            missing.append((member, reason))
        elif workers[0].report.problem:
            missing.append((member, workers[0].report.problem))
        else:
            present.append((member, workers[0].report.worker_id))
    return Census(tuple(present), tuple(missing))


def require_all(census: Census) -> None:
    """Raise if a ring member has no usable worker.

    :raises MissingWorker: naming all of them.
    """
    if census.missing:
        names = "; ".join(
            f"{m.address} (host ID {m.host_id}): {reason}" for m, reason in census.missing
        )
        raise MissingWorker(
            f"ring members without a usable worker: {names}. Start magnetodb-backup-worker and "
            "Cassandra there, or ask for --allow-partial"
        )
