# SPDX-License-Identifier: Apache-2.0
"""Options of the conductor."""

from oslo_config import cfg

GROUP = "conductor"
OPTS = [
    cfg.FloatOpt(
        "poll_interval",
        default=1.0,
        min=0.05,
        max=60,
        help="Maximum time in seconds between two checks for new jobs and between two checks of a "
        "running task. Both are reported by messages too: the checks find what a lost message "
        "would have reported. Of a step of more than a hundred nodes, each is checked less often.",
    ),
    cfg.FloatOpt(
        "schedule_interval",
        default=10.0,
        min=0.1,
        max=60,
        help="Maximum time in seconds between two looks at the schedules. The conductor also looks "
        "when the next run is due. A run that waits for the end of another backup begins with the "
        "next look. The conductor looks as often for schedules, retention policies and marks of "
        "kept backups that it has to copy to the object store.",
    ),
    cfg.FloatOpt(
        "worker_timeout",
        default=20.0,
        min=1,
        max=3600,
        help="Time in seconds without a report after which a worker does not count as live. A job "
        "waits that long at its begin for a worker that never reported. It must be several times "
        "[worker] heartbeat_interval.",
    ),
    cfg.FloatOpt(
        "outage_deadline",
        default=900.0,
        min=1,
        max=86400,
        help="Time in seconds that a job waits for a worker, Cassandra, the bus or the object "
        "store to answer again before it fails. A worker that is silent when a job begins is "
        "waited for until it has been silent for so long. A restore that has begun to truncate or "
        "deliver waits without end; it can be cancelled.",
    ),
    cfg.FloatOpt(
        "build_stall_timeout",
        default=3600.0,
        min=1,
        help="Maximum time in seconds without progress while a restore waits until a node has "
        "built materialized views and indexes, and has sent its view updates to the other nodes. "
        "The restore fails after that; the restored tables stay. Cassandra itself waits for "
        "five minutes before it repeats a failed view build.",
    ),
    cfg.FloatOpt(
        "build_timeout",
        default=0.0,
        min=0,
        help="Maximum time in seconds that a restore waits for these builds in all, even if they "
        "make progress. 0 means that it waits for as long as they make progress.",
    ),
    cfg.FloatOpt(
        "stall_deadline",
        default=3600.0,
        min=60,
        max=604800,
        help="Time in seconds without any progress after which a task of a backup is cancelled and "
        "started again, as after an outage. The wait for a command of Cassandra is no lack of "
        "progress: it ends by the timeout of [nodetool] or [jolokia]. A disk or an object store "
        "that does not answer must not keep a job, and the later ones of its cluster, for ever.",
    ),
    cfg.FloatOpt(
        "undelete_period",
        default=604800.0,
        min=0,
        max=315360000,
        help="Time in seconds, by default seven days, for which a deleted backup can be undeleted. "
        "Its manifests stay in the object store until then, and so do the packs that only it "
        "needs. 0 means that a deletion removes all manifests at once, and cannot be undone. The "
        "period of a backup begins with its deletion and does not change afterwards.",
    ),
    cfg.FloatOpt(
        "ownership_timeout",
        default=30.0,
        min=1,
        max=3600,
        help="Seconds without a heartbeat in the database after which another conductor may adopt "
        "a conductor's jobs. Heartbeats are three times as frequent. All conductors need the "
        "same value.",
    ),
    cfg.FloatOpt(
        "collect_grace",
        default=86400.0,
        min=0,
        help="Time in seconds for which a pack must be known to be of no use to any backup before "
        "a collection removes it. A first collection records which packs are of no use; a later "
        "one removes those that have been recorded for so long and still are.",
    ),
    cfg.IntOpt(
        "snapshot_rounds",
        default=3,
        min=1,
        max=10,
        help="Maximum number of rounds of a backup. A new round begins when the schema or the ring "
        "changes during the snapshot.",
    ),
    cfg.IntOpt(
        "concurrent_jobs",
        default=4,
        min=1,
        max=64,
        help="Maximum number of jobs that run at the same time. Verifications do not count: half "
        "as many of them, at least one, run beside the others.",
    ),
    cfg.FloatOpt(
        "prune_steps_after",
        default=2592000.0,
        min=0,
        max=3153600000,
        help="Time in seconds after the end of a job when the stored results of its steps are "
        "removed from the database. They serve to continue a job, so an ended one does not need "
        "them. 0 means that they stay.",
    ),
    cfg.FloatOpt(
        "prune_jobs_after",
        default=34560000.0,
        min=0,
        max=3153600000,
        help="Time in seconds after its end when a job is removed from the database, and the "
        "record of a backup that is DELETED, CREATE_FAILED or CANCELLED, of a restore, or of a run "
        "of a schedule. The newest run of each schedule stays. The newest job of each kind about a "
        "backup or another subject stays as long as its record. The records of other backups "
        "always stay. 0 means that all stay.",
    ),
    cfg.FloatOpt(
        "prune_workers_after",
        default=7776000.0,
        min=0,
        max=3153600000,
        help="Time in seconds since the last report of a worker, by default 90 days, after which "
        "its report is removed from the database, as by node forget. A worker that starts again "
        "reports again. 0 means that the reports stay.",
    ),
]
