# SPDX-License-Identifier: Apache-2.0
"""The random killer: ends processes and cuts connections while the service works.

``python -m tests.faults.killer --kills N --seed S`` starts all servers, kills N times, and requires
afterwards that nothing was lost and nothing is left. A seed repeats the kills, though not the
moments in which the service meets them. Figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import magnetodb_backup.cmd.threading_backend  # noqa: F401
from tests.faults.killing.aftermath import check_aftermath
from tests.faults.killing.load import Load
from tests.faults.killing.prey import Prey, prey_on
from tests.faults.killing.victims import Deed, cut, deeds_for
from tests.lab.processes import wait_for

LOG = logging.getLogger(__name__)
_CUTS = 0.25  # the share of deeds that concern the network


class Killer:
    """Kills ``kills`` times while a load runs on the prey."""

    def __init__(self, prey: Prey, kills: int, seed: int) -> None:
        self._prey, self._kills, self._seed = prey, kills, seed
        self._draw = Random(seed)
        self._pause = threading.Event()  # never set: its wait() is the time between kills
        self.done: Counter[str] = Counter()

    def run(self) -> dict[str, Any]:
        """Return figures of what happened.

        :raises AssertionError: if something was lost or is left; the seed is in the log.
        """
        LOG.info("%d kills by seed %d", self._kills, self._seed)
        load, began = Load(self._prey, self._seed), time.monotonic()
        load.make_table()
        load.start()
        try:
            deeds = deeds_for(self._prey)
            for number in range(self._kills):
                self._kill(number, deeds)
        finally:
            self._prey.heal()
            load.stop()
        killed = time.monotonic() - began
        figures = check_aftermath(self._prey.rig, load, self._draw)
        return {
            "seed": self._seed,
            "kills": dict(self.done),
            "load": dict(load.outcomes),
            "rows": len(load.written.attempted),
            "seconds_of_kills": round(killed),
            "seconds": round(time.monotonic() - began),
            **figures,
        }

    def _kill(self, number: int, deeds: list[Deed]) -> None:
        draw = self._draw
        (deed,) = draw.choices(deeds, [d.weight for d in deeds])
        if draw.random() < _CUTS:
            deed = cut(self._prey, draw)
        wait, outage = draw.uniform(0.0, 3.0), draw.uniform(0.0, 4.0)
        running = self._prey.rig.deployment.jobs_not_ended
        wait_for(running, deadline=120, what="a job to disturb")
        self._pause.wait(wait)
        LOG.info("%d: %s of %s for %.1f s", number + 1, deed.how, deed.victim, outage)
        deed.do()
        self._pause.wait(outage)
        deed.undo()
        self.done[deed.victim.split()[0]] += 1


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.killer", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="number of kills")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parsed = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    LOG.setLevel(logging.INFO)
    from tests.lab.standing import standing

    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="killer-"))
        LOG.info("logs are in %s; after a failure they stay there", directory)
        servers = stack.enter_context(standing(directory))
        address = servers.block.address(240)
        prey = stack.enter_context(
            prey_on(servers.rig, servers.keystone, directory / "prey", address)
        )
        print(json.dumps(Killer(prey, parsed.kills, parsed.seed).run(), indent=1))
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
