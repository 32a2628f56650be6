# SPDX-License-Identifier: Apache-2.0
"""What the random killer does to whom, and how everything comes back."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.faults.killing.prey import Prey
from tests.lab.processes import ManagedProcess
from tests.lab.rig import Rig

_UNLIMITED = resource.RLIM_INFINITY


@dataclass(frozen=True)
class Deed:
    """Something that is done to a part of the rig, and what ends it; ``weight`` by lot."""

    victim: str
    how: str
    do: Callable[[], object]
    undo: Callable[[], object]
    weight: int = 1


def _to_process(
    victim: str,
    process: ManagedProcess,
    start: Callable[[], object],
    weight: int,
    kill: Callable[[], object] | None = None,
) -> list[Deed]:
    return [
        Deed(victim, "SIGKILL", kill or process.kill, start, 2 * weight),
        Deed(victim, "SIGTERM", lambda: process.stop(20), start, weight),
        Deed(victim, "SIGSTOP", process.pause, process.resume, weight),
    ]


def _full_disk(victim: str, process: ManagedProcess, weight: int) -> Deed:
    """Let the kernel refuse that any file of a process grows, as a full disk or a quota does."""

    def limit(size: int) -> None:
        if process.alive():
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, _UNLIMITED))

    return Deed(victim, "full disk", lambda: limit(0), lambda: limit(_UNLIMITED), weight)


def deeds_for(prey: Prey) -> list[Deed]:
    """Return all that may happen to processes and their disks.

    ``undo`` waits until the victim serves again. Processes die with the thread that starts them, so
    one thread does and undoes everything.
    """
    rig, conductor = prey.rig, prey.rig.deployment.conductor
    deeds = [*_to_process("conductor", conductor, conductor.start, 6)]
    deeds += [_full_disk("conductor", conductor, 3)]
    deeds += _to_process("api", prey.api.process, prey.api.start, 1)
    deeds += _to_process("database", prey.database.process, prey.database.start, 2)
    for worker in rig.deployment.workers:
        deeds += _to_process(worker.name, worker, worker.start, 4)
        deeds += [_full_disk(worker.name, worker, 3)]
    deeds += _to_process("rabbitmq", rig.rabbitmq.process, rig.rabbitmq.start, 2)
    for process in rig.swift.processes:
        weight = 3 if process.name.endswith("proxy") else 1
        deeds += _to_process(process.name, process, rig.swift.start, weight)
        deeds += [_full_disk(process.name, process, 1)]
    for node in rig.cluster.nodes:
        deeds += _to_process(
            f"cassandra {node.address}", node.process, rig.cluster.start, 1, node.kill
        )
    return deeds


def cut(prey: Prey, draw: Random) -> Deed:
    """Return a fault of the network between the service and its servers, drawn by lot."""
    name = draw.choice(["swift", "swift", *sorted(prey.wires)])
    if name == "swift":
        return _cut_from_swift(prey.rig, draw)
    wire = prey.wires[name]
    how, do = draw.choice([("cut", wire.cut), ("silent", lambda: wire.hold(b""))])
    return Deed("network", f"connections to {name} {how}", do, wire.clear)


def _cut_from_swift(rig: Rig, draw: Random) -> Deed:
    path, times = draw.choice(["/packs/", "/nodes/", "/backups/", ""]), draw.randint(1, 5)
    kinds: Sequence[tuple[str, Callable[[], object]]] = [
        (
            f"{times} answers cut at {path or 'any path'}",
            lambda: rig.proxy.cut_response(
                path_contains=path, after_bytes=draw.randrange(2000), times=times
            ),
        ),
        (
            f"{times} requests cut at {path or 'any path'}",
            lambda: rig.proxy.cut_request(method="PUT", path_contains=path, times=times),
        ),
        (
            f"503 for {times} requests of {path or 'any path'}",
            lambda: rig.proxy.fail(path_contains=path, status=503, times=times),
        ),
        (f"silence at {path or 'any path'}", lambda: rig.proxy.hang(path_contains=path)),
    ]
    how, do = draw.choice(kinds)
    return Deed("network", how, do, rig.proxy.clear)
