# SPDX-License-Identifier: Apache-2.0
"""Refuses values in which oslo.config would replace a ``$`` that was meant literally.

oslo.config replaces ``$name`` and ``${name}`` by the value of another option, in passwords too, and
writes ``$$`` as ``$``. An unknown name is an error only when the option is read, and that error
contains a part of the value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from oslo_config import cfg

from magnetodb_backup.conf import opts
from magnetodb_backup.errors import InvalidValue

_ALWAYS_MEANT = "state_dir"  # no password contains it by chance, and [database] connection may
_ENVIRONMENT = "OS_"


def check_references(conf: cfg.ConfigOpts) -> None:
    """Check all values of the configuration files and of the environment.

    A secret, or an option that an authentication plugin registers later, may refer to
    ``$state_dir`` only; other options may refer to every option of the configuration.

    :raises InvalidValue: naming source, group and option, but neither value nor reference.
    """
    open_text = {
        (group, option.dest): not option.secret
        for group, options in opts.registered_opts()
        for option in options
    }
    for source, group, name, value in (*_in_files(conf), *_in_environment()):
        for reference in _references(value):
            allowed = reference == _ALWAYS_MEANT or (
                open_text.get((group, name), False) and _resolves(conf, group, reference)
            )
            if not allowed:
                raise InvalidValue(
                    f"bad configuration: [{group}] {name} in {source} has a $ that would be read "
                    "as a reference to another option; write $$ for a literal $"
                )


def _references(value: str) -> Iterator[str]:
    """Yield the names of the options that a value refers to, as oslo.config reads it."""
    for match in cfg.ConfigOpts.Template.pattern.finditer(value.replace(r"\$", "$$")):
        if name := match["named"] or match["braced"]:
            yield name


def _resolves(conf: cfg.ConfigOpts, group: str, reference: str) -> bool:
    """Return whether a reference names an option; without a group, of ``group`` or [DEFAULT]."""
    other, _, name = reference.rpartition(".")
    scopes = [other] if other else [group, "DEFAULT"]
    for scope in scopes:
        try:
            getattr(conf if scope == "DEFAULT" else conf[scope], name)
        except (cfg.Error, AttributeError):
            continue
        return True
    return False


def _in_files(conf: cfg.ConfigOpts) -> Iterator[tuple[str, str, str, str]]:
    """Yield file, group, option and value of each line of the configuration files."""
    for file in _files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(file, sections).parse()
        for section, options in sections.items():
            for name, values in options.items():
                for value in values:
                    yield file, section, name.replace("-", "_"), value


def _files(conf: cfg.ConfigOpts) -> list[str]:
    directories = [d for d in conf.config_dir or [] if os.path.isdir(d)]
    inside = [
        os.path.join(directory, name)
        for directory in directories
        for name in sorted(os.listdir(directory))
        if name.endswith(".conf")
    ]
    return [*(conf.config_file or []), *inside]


def _in_environment() -> Iterator[tuple[str, str, str, str]]:
    """Yield variable, group, option and value as oslo.config's environment driver names them."""
    for variable, value in os.environ.items():
        if variable.startswith(_ENVIRONMENT) and "__" in variable:
            group, _, name = variable.removeprefix(_ENVIRONMENT).lower().partition("__")
            yield variable, "DEFAULT" if group == "default" else group, name, value
