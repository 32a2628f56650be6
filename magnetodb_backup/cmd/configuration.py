# SPDX-License-Identifier: Apache-2.0
"""Reads the configuration and sets up logging."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version as distribution_version
from typing import Any

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log

from magnetodb_backup.conf import opts
from magnetodb_backup.errors import BackupError, InvalidValue
from magnetodb_backup.plugins.loading import check_plugins

PROJECT = "magnetodb-backup"
EXIT_FAILED, EXIT_USAGE = 1, 2


def version() -> str:
    """Return the installed version."""
    return distribution_version(PROJECT)


def load(arguments: Sequence[str], conf: cfg.ConfigOpts = cfg.CONF) -> cfg.ConfigOpts:
    """Register all options, read the files and check every value.

    :raises InvalidValue: naming the file or the option that is wrong.
    """
    opts.register(conf)
    conf.register_opts(db_options.database_opts, group="database")
    log.register_options(conf)
    log.set_defaults(
        default_log_levels=[
            *log.get_default_log_levels(),
            "cassandra=ERROR",
            "swiftclient=CRITICAL",
            "oslo_messaging=WARNING",
            "amqp=WARNING",
            "kombu=WARNING",
            "alembic=WARNING",
        ]
    )
    try:
        conf(
            list(arguments),
            project=PROJECT,
            version=version(),
            default_config_files=cfg.find_config_files(project=PROJECT, prog=PROJECT),
            default_config_dirs=cfg.find_config_dirs(project=PROJECT, prog=PROJECT),
        )
        _check_values(conf)
        check_plugins(conf)
    except (cfg.ConfigFilesNotFoundError, cfg.ConfigDirNotFoundError) as error:
        raise InvalidValue(f"{error}; give --config-file an existing file") from None
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise InvalidValue(f"{error}; let the service's user read it") from None
    except (cfg.Error, ValueError) as error:
        raise InvalidValue(f"bad configuration: {error}") from None
    return conf


def _check_values(conf: cfg.ConfigOpts) -> None:
    """Read every option once: oslo.config looks at a value only when it is read."""
    for group, options in opts.list_opts():
        scope: Any = conf if group == "DEFAULT" else conf[group]
        for option in options:
            try:
                getattr(scope, option.dest)
            except cfg.NoSuchOptError:
                continue  # belongs to an authentication plugin that is not in use


def set_up_logging(conf: cfg.ConfigOpts) -> None:
    """Log as the configuration says."""
    log.setup(conf, PROJECT, version())


def guarded(main: Any) -> int:
    """Run ``main()`` and turn its errors into one line on standard error and an exit code."""
    try:
        return int(main() or 0)
    except InvalidValue as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_USAGE
    except BackupError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILED
