# SPDX-License-Identifier: Apache-2.0
"""Reads the configuration and sets up logging."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_log import log

from magnetodb_backup.cmd.references import check_references
from magnetodb_backup.conf import opts
from magnetodb_backup.errors import BackupError, InvalidValue
from magnetodb_backup.plugins.loading import check_plugins

PROJECT = "magnetodb-backup"
EXIT_FAILED, EXIT_USAGE = 1, 2


def version() -> str:
    """Return the installed version."""
    return distribution_version(PROJECT)


def load(
    arguments: Sequence[str],
    conf: cfg.ConfigOpts = cfg.CONF,
    check: Callable[[cfg.ConfigOpts], None] = check_plugins,
) -> cfg.ConfigOpts:
    """Register all options, read the files, check every value, and the plugins by ``check``.

    :raises InvalidValue: naming the file or the option that is wrong.
    """
    opts.register(conf)
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
        _read(conf, arguments)
        check_references(conf)
        _check_values(conf, arguments)
        check(conf)
    except (cfg.ConfigFilesNotFoundError, cfg.ConfigDirNotFoundError) as error:
        raise InvalidValue(f"{error}; give --config-file an existing file") from None
    except cfg.ConfigFilesPermissionDeniedError as error:
        raise InvalidValue(f"{error}; let the service's user read it") from None
    except UnicodeDecodeError as error:
        raise InvalidValue(
            f"bad configuration: {_not_text(conf, arguments)} is not UTF-8: {error}"
        ) from None
    except (cfg.Error, ValueError, OSError) as error:
        raise InvalidValue(f"bad configuration: {error}") from None
    except SystemExit as error:
        if error.code != 1:
            raise  # --help, --version or a wrong argument
        raise InvalidValue("bad configuration; the line above names the option") from None
    return conf


def reread(conf: cfg.ConfigOpts) -> None:
    """Read the options that may change at run time again; if a file is wrong, nothing changes.

    :raises InvalidValue: naming the file or the option that is wrong.
    """
    arguments = [f"--config-file={name}" for name in conf.config_file]
    arguments += [f"--config-dir={name}" for name in conf.config_dir]
    load(arguments, cfg.ConfigOpts())
    conf.mutate_config_files()


def _not_text(conf: cfg.ConfigOpts, arguments: Sequence[str]) -> str:
    """Return the name of the configuration file that is not UTF-8."""
    given = [argument.partition("=")[2] or argument for argument in arguments]
    for name in (*conf.default_config_files, *conf.default_config_dirs, *given):
        path = Path(name)
        for file in sorted(path.glob("*.conf")) if path.is_dir() else [path]:
            try:
                file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return str(file)
            except OSError:
                continue
    return "a configuration file"


def _check_values(conf: cfg.ConfigOpts, arguments: Sequence[str]) -> None:
    """Read every option once: oslo.config looks at a value only when it is read.

    :raises InvalidValue: naming the option and its value.
    """
    for group, options in opts.registered_opts():
        scope: Any = conf if group == "DEFAULT" else conf[group]
        for option in options:
            try:
                getattr(scope, option.dest)
            except (cfg.Error, ValueError) as error:
                value = "" if option.secret else f" = {_as_written(arguments, group, option)}"
                raise InvalidValue(
                    f"bad configuration: [{group}] {option.dest}{value}: {error}"
                ) from None


def _as_written(arguments: Sequence[str], group: str, option: cfg.Opt) -> str:
    """Return an option's value as the files have it, without a check of its type."""
    plain = cfg.ConfigOpts()
    plain.register_opt(cfg.StrOpt(option.name, dest=option.dest), group=group)
    _read(plain, arguments)
    return str(getattr(plain if group == "DEFAULT" else plain[group], option.dest))


def _read(conf: cfg.ConfigOpts, arguments: Sequence[str]) -> None:
    conf(
        list(arguments),
        project=PROJECT,
        version=version(),
        default_config_files=cfg.find_config_files(project=PROJECT, prog=PROJECT),
        default_config_dirs=cfg.find_config_dirs(project=PROJECT, prog=PROJECT),
    )


def set_up_logging(conf: cfg.ConfigOpts) -> None:
    """Set up logging from the configuration."""
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
