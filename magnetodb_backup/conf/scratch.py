# SPDX-License-Identifier: Apache-2.0
"""Options of the scratch Cassandra, a private node that a worker starts for a while."""

from oslo_config import cfg

GROUP = "scratch"
OPTS = [
    cfg.StrOpt(
        "include",
        help="Path of cassandra.in.sh of the installed Cassandra, which sets its class path, its "
        "Java and the options of that. If unset, the worker looks for it in the usual places. Not "
        "used if class_path is set.",
    ),
    cfg.StrOpt(
        "class_path",
        help="Class path with the jars of Cassandra, instead of cassandra.in.sh. As for Java, a "
        "directory with /* at its end stands for all jars in it.",
    ),
    cfg.StrOpt("java", default="java", help="Java that runs Cassandra, used with class_path only."),
    cfg.ListOpt(
        "java_options",
        default=[],
        help="More options for Java, separated by commas, for example @/etc/cassandra/java.options "
        "for a file with one option in each line.",
    ),
    cfg.StrOpt(
        "heap",
        default="512M",
        regex="[1-9][0-9]*[kKmMgG]",
        help="Heap of the scratch Cassandra, and of the program that verifies SSTables, as Java "
        "writes it.",
    ),
    cfg.StrOpt(
        "configuration",
        default="/etc/cassandra/cassandra.yaml",
        help="Configuration of the node. The scratch Cassandra takes over the partitioner, the "
        "formats of SSTables and memtables, and what is enabled, but no address, directory, "
        "login or certificate.",
    ),
    cfg.StrOpt(
        "directory",
        help="Directory of the scratch Cassandra. If unset, a directory in state_dir. Only the "
        "worker's user can read it, and no other worker may use it.",
    ),
    cfg.IntOpt(
        "room",
        default=10 * 1024**3,
        min=1024 * 1024,
        help="Bytes of SSTables that backup verify --parse keeps in the directory at a time. A "
        "larger SSTable is fetched alone.",
    ),
    cfg.HostAddressOpt(
        "address",
        default="127.0.0.1",
        help="Loopback address on which the scratch Cassandra listens, on free ports.",
    ),
    cfg.FloatOpt(
        "start_timeout",
        default=300.0,
        min=1,
        help="Maximum time in seconds until the scratch Cassandra answers.",
    ),
    cfg.FloatOpt(
        "verify_timeout",
        default=86_400.0,
        min=1,
        help="Maximum time in seconds of one run of the program that verifies SSTables.",
    ),
]
