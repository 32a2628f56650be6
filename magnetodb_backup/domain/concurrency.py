# SPDX-License-Identifier: Apache-2.0
"""What may run at the same time, as data: drawn into the documentation, and tried by a test.

The code that decides is elsewhere: requests refuse, the database refuses where two requests meet,
and the conductor lets jobs wait that need a cluster for themselves.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


class Work(str, enum.Enum):
    """What works on backups. An expiry applies retention; a rebuild is a command, not a job."""

    BACKUP = "backup"
    RESTORE = "restore"
    DELETION = "deletion"
    UNDELETION = "undeletion"
    VERIFICATION = "verification"
    COLLECTION = "collection"
    SURVEY = "survey"
    EXPIRY = "expiry"
    REBUILD = "catalogue rebuild"


class Relation(str, enum.Enum):
    """What the second work has in common with the one that runs.

    The cluster of a restore is its target. Collections, surveys, expiries and rebuilds work on all
    backups of their cluster.
    """

    SAME_BACKUP = "the same backup"
    SAME_CLUSTER = "another backup, the same cluster"
    OTHER_CLUSTER = "another cluster"


class Outcome(str, enum.Enum):
    """What happens to the second work."""

    RUNS = "runs"
    WAITS = "waits"
    REFUSED = "refused"
    CANCELS = "cancels it, then runs"
    IMPOSSIBLE = "not possible"


@dataclass(frozen=True)
class Outcomes:
    """The outcomes for each relation."""

    same_backup: Outcome
    same_cluster: Outcome
    other_cluster: Outcome

    def of(self, relation: Relation) -> Outcome:
        """Return the outcome for a relation."""
        return {
            Relation.SAME_BACKUP: self.same_backup,
            Relation.SAME_CLUSTER: self.same_cluster,
            Relation.OTHER_CLUSTER: self.other_cluster,
        }[relation]


_RUNS = Outcomes(Outcome.RUNS, Outcome.RUNS, Outcome.RUNS)
_REFUSED = Outcomes(Outcome.REFUSED, Outcome.RUNS, Outcome.RUNS)
_CANCELS = Outcomes(Outcome.CANCELS, Outcome.RUNS, Outcome.RUNS)
# A backup is made once: no second backup of the same one can be asked for.
_NEW = Outcomes(Outcome.IMPOSSIBLE, Outcome.RUNS, Outcome.RUNS)
_NEW_WAITS = Outcomes(Outcome.IMPOSSIBLE, Outcome.WAITS, Outcome.RUNS)

_REFUSED_IN_CLUSTER = Outcomes(Outcome.REFUSED, Outcome.REFUSED, Outcome.RUNS)
_WAITS = Outcomes(Outcome.WAITS, Outcome.WAITS, Outcome.RUNS)

# By the work that runs and the one that is asked for meanwhile.
RULES: Mapping[Work, Mapping[Work, Outcomes]] = {
    Work.BACKUP: {
        Work.BACKUP: _NEW_WAITS,
        Work.RESTORE: Outcomes(Outcome.REFUSED, Outcome.WAITS, Outcome.RUNS),
        Work.DELETION: _CANCELS,
        Work.UNDELETION: _REFUSED,
        Work.VERIFICATION: _REFUSED,
        Work.COLLECTION: _WAITS,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _RUNS,
        Work.REBUILD: _RUNS,
    },
    Work.RESTORE: {
        Work.BACKUP: _NEW_WAITS,
        Work.RESTORE: _WAITS,
        Work.DELETION: _REFUSED,
        Work.UNDELETION: _REFUSED,
        Work.VERIFICATION: _RUNS,
        Work.COLLECTION: _WAITS,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _RUNS,
        Work.REBUILD: _RUNS,
    },
    Work.DELETION: {
        Work.BACKUP: _NEW,
        Work.RESTORE: _REFUSED,
        Work.DELETION: _REFUSED,
        Work.UNDELETION: _REFUSED,
        Work.VERIFICATION: _REFUSED,
        Work.COLLECTION: _RUNS,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _RUNS,
        Work.REBUILD: _RUNS,
    },
    Work.UNDELETION: {
        Work.BACKUP: _NEW,
        Work.RESTORE: _REFUSED,
        Work.DELETION: _REFUSED,
        Work.UNDELETION: _REFUSED,
        Work.VERIFICATION: _REFUSED,
        Work.COLLECTION: _RUNS,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _RUNS,
        Work.REBUILD: _RUNS,
    },
    Work.VERIFICATION: {
        Work.BACKUP: _NEW,
        Work.RESTORE: _RUNS,
        Work.DELETION: _REFUSED,
        Work.UNDELETION: _REFUSED,
        Work.VERIFICATION: _REFUSED,
        Work.COLLECTION: _RUNS,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _RUNS,
        Work.REBUILD: _RUNS,
    },
    Work.COLLECTION: {
        Work.BACKUP: _NEW_WAITS,
        Work.RESTORE: _WAITS,
        Work.DELETION: _RUNS,
        Work.UNDELETION: _RUNS,
        Work.VERIFICATION: _RUNS,
        Work.COLLECTION: _REFUSED_IN_CLUSTER,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _RUNS,
        Work.REBUILD: _RUNS,
    },
    Work.SURVEY: {Work.BACKUP: _NEW} | {work: _RUNS for work in Work if work is not Work.BACKUP},
    Work.EXPIRY: {
        Work.BACKUP: _NEW,
        Work.RESTORE: _RUNS,
        Work.DELETION: _RUNS,
        Work.UNDELETION: _RUNS,
        Work.VERIFICATION: _RUNS,
        Work.COLLECTION: _RUNS,
        Work.SURVEY: _RUNS,
        Work.EXPIRY: _REFUSED_IN_CLUSTER,
        Work.REBUILD: _RUNS,
    },
    Work.REBUILD: {Work.BACKUP: _NEW} | {work: _RUNS for work in Work if work is not Work.BACKUP},
}


def outcomes() -> Iterator[tuple[Work, Work, Relation, Outcome]]:
    """Yield each rule: the work that runs, the one that is asked for, their relation, the end."""
    for first, others in RULES.items():
        for second, found in others.items():
            for relation in Relation:
                yield first, second, relation, found.of(relation)
