# SPDX-License-Identifier: Apache-2.0
"""Waits for the view updates that a repair has made; the rows of the tables are restored by then.

What Cassandra keeps for other nodes does not show for which tables it is. So an end of the patience
is a warning: the updates may have arrived long ago, and others wait.
"""

from __future__ import annotations

from collections.abc import Collection

from magnetodb_backup.conductor.fanout import first_error
from magnetodb_backup.conductor.job import Results
from magnetodb_backup.conductor.restore.nodes import TargetNodes
from magnetodb_backup.errors import CommandFailed
from magnetodb_backup.tasks.restore_delivery import AwaitViews

_REMEDY = (
    "Cassandra does not show which tables these are for; once all nodes are up, run nodetool "
    "repair --full on the views"
)


def await_view_updates(
    nodes: TargetNodes, results: Results, keyspaces: Collection[str]
) -> tuple[str, ...]:
    """Wait until all nodes have sent their view updates, if the keyspaces have any view.

    Return a warning for each node that still has some when the patience ends.

    :raises BackupError: the first other error.
    """
    views = [t.name for t in nodes.tables().values() if t.is_view]
    names = sorted(str(name) for name in views if name.keyspace in keyspaces)
    if not names:
        return ()
    bounds = nodes.builds
    task = AwaitViews(views=(), indexes=(), seconds=bounds.stall, longest=bounds.longest)
    tasks = {member.host_id: task for member in nodes.members(results)}
    outcomes = nodes.run_to_the_end(results, "view_updates", tasks)
    late = [o for o in outcomes if isinstance(o.error, CommandFailed)]
    if error := first_error([o for o in outcomes if o not in late]):
        raise error
    return tuple(f"{outcome.error}. {_REMEDY}: {', '.join(names)}" for outcome in late)
