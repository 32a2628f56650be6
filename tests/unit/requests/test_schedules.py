# SPDX-License-Identifier: Apache-2.0
"""The rules of requests for schedules."""

from __future__ import annotations

from typing import Any

import pytest

from magnetodb_backup.database import Database
from magnetodb_backup.domain.schedule.records import ScheduleRequest, ScheduleStatus
from magnetodb_backup.errors import Conflict, InvalidValue, NotFound
from magnetodb_backup.plugins.loading import load_scope
from magnetodb_backup.requests.service import RecordedRequests
from tests.lab.catalogue import MISSING
from tests.lab.schedules import BODY, CLUSTER, backups_of, runs_of
from tests.unit.requests.test_backups import Conductor


@pytest.fixture
def conductor() -> Conductor:
    return Conductor()


@pytest.fixture
def requests(database: Database, conductor: Conductor) -> RecordedRequests:
    return RecordedRequests(database, load_scope, conductor.wake, known_within=60, prefix="p")


def wanted(**fields: Any) -> ScheduleRequest:
    return ScheduleRequest.from_json({**BODY, **fields})


def test_a_schedule_is_of_the_only_cluster(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    schedule = requests.create_schedule(wanted(data_centers=["dc1", "dc1"]))
    assert database.schedules.get(schedule.id) == schedule
    assert (schedule.cluster, schedule.backup.data_centers) == (CLUSTER, ("dc1",))
    assert conductor.woken == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "has 1 to 200 characters, this one has 0"),
    ({"name": "n" * 201}, "has 1 to 200 characters, this one has 201"),
    ({"name": " n"}, "has blanks around it"),
    ({"cron": "0 25 * * *"}, r"cron is '0 25 \* \* \*' \(bad hour\); write five fields"),
    ({"zone": "Berlin"}, "zone is 'Berlin', which is no time zone; use a name of the IANA"),
    ({"jitter": -1}, "jitter is -1 s; use 0 to 86400"),
    ({"jitter": 86401}, "jitter is 86401 s; use 0 to 86400"),
    ({"cron": "* * * * *", "jitter": 60}, "two runs .* are only 60 s apart; use a smaller"),
    ({"begin_within": 0}, "begin_within is 0 s; use 1 to 604800"),
    ({"finish_within": 59}, "finish_within is 59 s; use 60 to 604800"),
    ({"type": "incremental"}, "'incremental' is not available yet"),
    ({"on_corrupt": "x"}, "on_corrupt is 'x'; use fail or mark"),
    ({"scope": {"type": "tables"}}, "tables"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_wrong_values(
    requests: RecordedRequests, database: Database, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        requests.create_schedule(wanted(**fields))
    assert database.schedules.list() == ()
    schedule = requests.create_schedule(wanted())
    with pytest.raises(InvalidValue, match=message):
        requests.change_schedule(schedule.id, fields)
    assert database.schedules.get(schedule.id) == schedule


def test_largest_jitter(requests: RecordedRequests) -> None:
    assert requests.create_schedule(wanted(cron="* * * * *", jitter=59)).timing.jitter == 59


def test_unknown_clusters_and_data_centres(requests: RecordedRequests) -> None:
    with pytest.raises(NotFound, match="no worker reports a cluster 'other'"):
        requests.create_schedule(wanted(cluster="other"))
    with pytest.raises(NotFound, match="dc9"):
        requests.create_schedule(wanted(data_centers=["dc9"]))


def test_changes(requests: RecordedRequests, database: Database) -> None:
    schedule = requests.create_schedule(wanted(jitter=5, allow_partial=True))
    changes = {"name": "weekly", "cron": "0 3 * * SUN", "finish_within": 600, "figures": True}
    changed = requests.change_schedule(schedule.id, changes)
    assert (changed.name, changed.timing.cron, changed.timing.jitter) == (
        "weekly",
        "0 3 * * SUN",
        5,
    )
    assert (changed.backup.figures, changed.backup.allow_partial) == (True, True)
    assert changed.timing.finish_within == 600
    unlimited = requests.change_schedule(schedule.id, {"finish_within": None})
    assert unlimited.timing.finish_within is None
    assert database.schedules.get(schedule.id) == unlimited


def test_a_cluster_without_workers_can_be_changed_and_run(
    requests: RecordedRequests, database: Database
) -> None:
    schedule = requests.create_schedule(wanted())
    database.nodes.forget("w1")
    requests.change_schedule(schedule.id, {"missed": "skip"})
    assert requests.run_schedule(schedule.id).backup_id == backups_of(database)[0].id


def test_pause_resume_run_delete(
    requests: RecordedRequests, database: Database, conductor: Conductor
) -> None:
    schedule = requests.create_schedule(wanted())
    woken = conductor.woken
    assert requests.pause_schedule(schedule.id).status is ScheduleStatus.PAUSED
    assert conductor.woken == woken + 1
    with pytest.raises(Conflict, match="already PAUSED"):
        requests.pause_schedule(schedule.id)
    woken = conductor.woken
    run = requests.run_schedule(schedule.id)
    assert (run.manual, conductor.woken) == (True, woken + 1)
    assert requests.resume_schedule(schedule.id).status is ScheduleStatus.ACTIVE
    with pytest.raises(Conflict, match="already ACTIVE"):
        requests.resume_schedule(schedule.id)
    assert runs_of(database, schedule) == (run,)
    woken = conductor.woken
    requests.delete_schedule(schedule.id)
    assert conductor.woken == woken + 1  # the removal has to be copied
    for work in (requests.delete_schedule, requests.pause_schedule, requests.run_schedule):
        with pytest.raises(NotFound, match="see schedule list"):
            work(schedule.id)
    with pytest.raises(NotFound):
        requests.change_schedule(MISSING, {"jitter": 1})
