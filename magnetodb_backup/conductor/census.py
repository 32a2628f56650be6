# SPDX-License-Identifier: Apache-2.0
"""Matches the ring with the workers."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.backup.records import Node
from magnetodb_backup.domain.coverage import members_of
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.errors import DuplicateWorker, MissingWorker, RingDiffers

_NEVER = "no worker has ever reported it"


@dataclass(frozen=True)
class Census:
    """Ring members with their worker's ID, and those without a usable worker with the reason.

    ``outside`` are nodes that work as members of the ring, but are not in it.
    """

    present: tuple[tuple[RingMember, str], ...]
    missing: tuple[tuple[RingMember, str], ...]
    outside: tuple[RingMember, ...] = ()


def take_census(
    ring: Sequence[RingMember], nodes: Sequence[Node], data_centers: Collection[str] = ()
) -> Census:
    """Find the live worker of each ring member, or of those in the data centres, by host ID.

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
    members = {member.host_id for member in ring}
    outside = [
        node.report.member
        for host_id, workers in live.items()
        for node in workers[:1]
        if host_id not in members and node.report.member and _is_normal(node)
    ]
    present, missing = [], []
    for member in sorted(members_of(ring, data_centers), key=lambda m: m.host_id):
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
                else _NEVER
            )
            missing.append((member, reason))
        elif workers[0].report.problem:
            missing.append((member, workers[0].report.problem))
        else:
            present.append((member, workers[0].report.worker_id))
    return Census(tuple(present), tuple(missing), tuple(outside))


def _is_normal(node: Node) -> bool:
    """Return whether a node serves clients as a member of the ring does.

    Cassandra before 4.1 shows no mode. It serves CQL once it has joined, or without tokens with
    ``join_ring=false``.
    """
    report = node.report
    has_tokens = report.member is not None and bool(report.member.tokens)
    return has_tokens and not report.problem and report.mode in ("", "NORMAL")


def require_in_ring(census: Census, seen_by: str) -> None:
    """Raise if a node works as a member of the ring, but the node ``seen_by`` does not see it.

    :raises RingDiffers: naming all of them.
    """
    if census.outside:
        names = ", ".join(f"{m.address} (host ID {m.host_id})" for m in census.outside)
        raise RingDiffers(
            f"the ring that node {seen_by} sees lacks nodes whose Cassandra is NORMAL: {names}. "
            "Compare nodetool status of the nodes; restart Cassandra where a member is missing, "
            "or stop magnetodb-backup-worker on nodes that are not in this cluster"
        )


def require_all(census: Census, otherwise: str = "") -> None:
    """Raise if a ring member has no usable worker; ``otherwise`` is another remedy.

    :raises MissingWorker: naming all of them.
    """
    if census.missing:
        names = "; ".join(
            f"{m.address} (host ID {m.host_id}, {m.dc}): {reason}" for m, reason in census.missing
        )
        raise MissingWorker(
            f"ring members without a usable worker: {names}. Start magnetodb-backup-worker and "
            f"Cassandra there{otherwise}{_stale_hint(census)}"
        )


def backup_remedies(census: Census) -> str:
    """Return what a backup without the missing nodes may ask for."""
    lacking = {m.dc for m, _ in census.missing}
    whole = sorted({m.dc for m, _ in census.present} - lacking)
    only = "".join(f" --dc {shlex.quote(dc)}" for dc in whole)
    by_dc = f", or back up only {as_text(whole)}, by{only}" if whole else ""
    return f", or ask for --allow-partial{by_dc}"


def _stale_hint(census: Census) -> str:
    """Return what to do if nodes are only remnants in system.peers_v2."""
    unknown = ", ".join(m.address for m, reason in census.missing if reason == _NEVER)
    if not unknown:
        return ""
    return (
        f". If nodetool status does not list {unknown}, that node has left the cluster: run "
        "nodetool removenode or nodetool assassinate for it, or delete its row from "
        "system.peers_v2 on each node"
    )
