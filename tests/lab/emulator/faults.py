# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with requests: by an explicit script of rules, or drawn from a seed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What happens to one request."""

    FAIL = "fail"  # the store answers with a status of failure
    CUT_REQUEST = "cut request"  # the connection ends in the body of the request
    CUT_ANSWER = "cut answer"  # the connection ends in the body of the answer, or in a listing
    LOSE_ANSWER = "lose answer"  # the request is executed, and its answer is lost


@dataclass
class Rule:
    """What happens to the next ``times`` requests that match; -1 for all.

    ``method`` is GET, HEAD, PUT, DELETE or LIST, empty for all. ``after`` is the number of bytes of
    a body that arrive, or of entries of a listing. ``retry_after`` is in seconds, 0 for no header.
    """

    kind: Kind
    method: str = ""
    name_contains: str = ""
    times: int = -1
    status: int = 503
    retry_after: int = 0
    after: int = 0

    def matches(self, method: str, name: str) -> bool:
        """Return whether a request is meant, and count it."""
        meant = self.method in ("", method) and self.name_contains in name
        if self.times == 0 or not meant:
            return False
        self.times -= self.times > 0
        return True


@dataclass(frozen=True)
class Faults:
    """Faults by a seed: the shares (0 to 1) of requests that fail in each way.

    A draw depends on the seed, the request, and how often that request was made, never on the order
    of threads: the same operations have the same faults. A storm answers all requests with 498 or
    503 for ``storm_seconds``. Answers are cut after one of ``cut_after`` bytes or entries. Each
    request takes up to ``latency`` seconds. A listing shows a change up to ``lag`` seconds later.
    A token lives for ``token_lifetime`` seconds.
    """

    seed: int = 0
    failures: float = 0.0
    cut_requests: float = 0.0
    cut_answers: float = 0.0
    lost_answers: float = 0.0
    storms: float = 0.0
    storm_seconds: int = 30
    cut_after: tuple[int, ...] = (0, 1, 700, 65536)
    latency: float = 0.0
    lag: float = 0.0
    token_lifetime: float = math.inf

    def draw(self, what: str, *request: object) -> float:
        """Return a number from 0 to below 1 that belongs to this part of this request."""
        text = repr((self.seed, what, *request)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / (1 << 64)

    def rules(self, method: str, name: str, attempt: int) -> list[Rule]:
        """Return what happens to the ``attempt``-th request of this kind for this name."""
        shares = {
            Kind.FAIL: self.failures,
            Kind.CUT_REQUEST: self.cut_requests if method == "PUT" else 0.0,
            Kind.CUT_ANSWER: self.cut_answers if method in ("GET", "LIST") else 0.0,
            Kind.LOSE_ANSWER: self.lost_answers if method in ("PUT", "DELETE") else 0.0,
        }
        return [
            Rule(
                kind,
                status=503 if self.draw("status", method, name, attempt) < 0.5 else 498,
                retry_after=int(10 * self.draw("retry", method, name, attempt)),
                after=self._cut_after(method, name, attempt),
            )
            for kind, share in shares.items()
            if self.draw(kind.value, method, name, attempt) < share
        ]

    def _cut_after(self, *request: object) -> int:
        return self.cut_after[int(len(self.cut_after) * self.draw("after", *request))]


CALM = Faults()
ROUGH = Faults(
    failures=0.1, cut_requests=0.1, cut_answers=0.1, lost_answers=0.1, storms=0.02,
    latency=1.0, token_lifetime=60.0,
)  # fmt: skip
