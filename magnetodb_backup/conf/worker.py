# SPDX-License-Identifier: Apache-2.0
"""Options of the worker."""

from oslo_config import cfg

GROUP = "worker"
OPTS = [
    cfg.IntOpt(
        "pack_size",
        default=32 * 1024 * 1024,
        min=1024 * 1024,
        max=1024 * 1024 * 1024,
        help="Size of a pack in bytes. A pack is kept in memory until it is stored; a worker keeps "
        "up to upload_concurrency + reader_threads packs.",
    ),
    cfg.IntOpt(
        "upload_concurrency",
        default=4,
        min=1,
        max=64,
        help="Number of simultaneous uploads of packs.",
    ),
    cfg.IntOpt(
        "download_concurrency",
        default=4,
        min=1,
        max=64,
        help="Number of simultaneous downloads of ranges of packs in a restore.",
    ),
    cfg.IntOpt(
        "fingerprints_concurrency",
        default=2,
        min=1,
        max=64,
        deprecated_name="figures_concurrency",
        help="Number of token ranges read at the same time from Cassandra, for the fingerprints of "
        "a backup and for the check of a restore.",
    ),
    cfg.IntOpt(
        "reader_threads",
        default=2,
        min=1,
        max=64,
        help="Number of threads that read and hash SSTables.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=5.0,
        min=0.2,
        max=300,
        help="Time in seconds between two reports to the conductor.",
    ),
    cfg.IntOpt(
        "snapshot_ttl",
        default=172800,
        min=60,
        help="Time in seconds after which Cassandra (4.1 and later) removes a snapshot by itself, "
        "if the service could not. An upload must be finished before.",
    ),
    cfg.FloatOpt(
        "head_room_percent",
        default=5.0,
        min=0,
        max=100,
        help="Percentage of the file system of each data directory that must stay free. With less "
        "free space no snapshot is taken, and a running node backup is stopped and its snapshot "
        "removed.",
    ),
    cfg.IntOpt(
        "verify_rate",
        default=0,
        min=0,
        mutable=True,
        help="Maximum number of bytes per second that verifications (backup verify --read-data and "
        "--parse) fetch from the object store on this node, beside [storage] bytes_per_second. 0 "
        "means no limit of its own. Read again on SIGHUP.",
    ),
    cfg.IntOpt(
        "staging_max_age",
        default=604800,
        min=0,
        help="Time in seconds for which the files that a restore has fetched are kept on the node "
        "after it has failed, or was cancelled once it had begun to change the cluster. A later "
        "restore of the same backup does not fetch them again. With 0 they are removed when the "
        "restore ends. Files that no restore uses are removed earlier if a data directory has less "
        "free space than head_room_percent.",
    ),
]
