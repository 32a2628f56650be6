# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a configuration is told by file and option, in one line, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg

from magnetodb_backup.cmd import configuration
from magnetodb_backup.errors import DatabaseUnavailable, InvalidValue

SOUND = "[storage]\ndriver = filesystem\nprefix = nightly\nbytes_per_second = 5000\n"


def load(*arguments: object) -> cfg.ConfigOpts:
    return configuration.load([str(a) for a in arguments], cfg.ConfigOpts())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.conf"
    path.write_text(SOUND)
    return path


def refusal(*arguments: object) -> str:
    with pytest.raises(InvalidValue) as raised:
        load(*arguments)
    return str(raised.value)


def test_a_sound_file_is_read(file: Path) -> None:
    conf = load("--config-file", file)
    assert conf.storage.driver == "filesystem"
    assert conf.storage.bytes_per_second == 5000
    assert conf.worker.pack_size == 32 * 1024 * 1024
    assert conf.database.connection is None


def test_later_files_and_directories_win(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "conf.d"
    directory.mkdir()
    (directory / "b.conf").write_text("[storage]\nprefix = second\n")
    (directory / "ignored.txt").write_text("[storage]\nprefix = third\n")
    conf = load("--config-file", file, "--config-dir", directory)
    assert (conf.storage.prefix, conf.storage.bytes_per_second) == ("second", 5000)


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    remedy = "give --config-file an existing file"
    for option in ("--config-file", "--config-dir"):
        text = refusal(f"{option}={absent}")
        assert str(absent) in text
        assert remedy in text


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal("--config-file", tmp_path)


@pytest.mark.parametrize(
    "text", ["[storage\n", "[storage]\ndriver\n", "[storage]\n= x\n", " indented\n"], ids=repr
)
def test_malformed_files_are_named_with_the_line(file: Path, text: str) -> None:
    file.write_text(text)
    assert f"{file}:{text.count(chr(10))}" in refusal("--config-file", file)


@pytest.mark.parametrize("form", ["--config-file={}", "--config-file {}", "--config-dir={}"])
def test_a_file_that_is_no_text_is_named(file: Path, tmp_path: Path, form: str) -> None:
    good = tmp_path / "good.ini"
    good.write_text("")
    file.write_bytes(b"# Gr\xf6\xdfe\n")
    path = file.parent if "dir" in form else file
    text = refusal(f"--config-file={good}", *form.format(path).split(" "))
    assert f"{file} is not UTF-8" in text


@pytest.mark.parametrize(
    ("group", "option", "value"),
    [
        ("storage", "bytes_per_second", "-1"),
        ("storage", "bytes_per_second", "fast"),
        ("storage", "prefix", "a.b"),
        ("storage", "prefix", "x" * 65),
        ("worker", "pack_size", "1"),
        ("worker", "heartbeat_interval", "soon"),
        ("worker", "head_room_percent", "-1"),
        ("conductor", "worker_timeout", "0"),
        ("conductor", "snapshot_rounds", "0"),
        ("api", "port", "70000"),
        ("api", "host", "not a host"),
        ("api", "auth_strategy", "hope"),
        ("cassandra", "native_port", "cql"),
        ("jolokia", "url", "ftp://127.0.0.1/"),
        ("nodetool", "timeout", "0"),
        ("swift", "interface", "secret"),
        ("swift", "timeout", "later"),
    ],
)
def test_wrong_values_are_named_with_group_and_file(
    file: Path, group: str, option: str, value: str
) -> None:
    file.write_text(f"[{group}]\n{option} = {value}\n")
    text = refusal("--config-file", file)
    assert f"[{group}] {option}" in text
    assert str(file) in text


@pytest.mark.parametrize(
    ("group", "option", "value"),
    [
        ("swift", "password", "pa$word"),
        ("swift", "password", "pa$region_name"),
        ("swift", "password", "x${username}y"),
        ("swift", "username", "us$er"),
        ("cassandra", "password", "te$sting"),
        ("cassandra", "password", "a$address"),
        ("jolokia", "password", "$$a$url"),
        ("database", "connection", "mysql+pymysql://u:p$w@host/d"),
        ("DEFAULT", "transport_url", "rabbit://u:pa$word@host"),
        ("storage", "prefix", "a$unknown"),
        ("storage", "prefix", "a${nothing.there}"),
    ],
)
def test_references_by_accident_are_refused(
    file: Path, group: str, option: str, value: str
) -> None:
    """A dollar sign in a password must neither end in a traceback nor change the password."""
    file.write_text(f"[{group}]\n{option} = {value}\n")
    text = refusal("--config-file", file)
    assert f"[{group}] {option} in {file}" in text
    assert "write $$" in text
    assert value not in text


def test_reference_in_the_environment_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CASSANDRA__PASSWORD", "pa$word")
    assert "[cassandra] password in OS_CASSANDRA__PASSWORD" in refusal("--config-file", file)


def test_literal_dollars_and_meant_references_are_read(file: Path) -> None:
    file.write_text(
        "[DEFAULT]\nstate_dir = /srv\n[database]\nconnection = sqlite:///$state_dir/x.sqlite\n"
        "[filesystem]\npath = $state_dir/store\n"
        "[cassandra]\npassword = a$$b\n[jolokia]\npassword = 5$\nca_file = ${database.connection}\n"
    )
    conf = load("--config-file", file)
    assert conf.database.connection == "sqlite:////srv/x.sqlite"
    assert conf.filesystem.path == "/srv/store"
    assert (conf.cassandra.password, conf.jolokia.password) == ("a$b", "5$")


@pytest.mark.parametrize(
    ("group", "option", "installed"),
    [
        ("storage", "driver", "filesystem, swift"),
        ("cassandra", "node_control", "jolokia, nodetool"),
    ],
)
def test_plugins_that_are_not_installed_are_named(
    file: Path, group: str, option: str, installed: str
) -> None:
    file.write_text(f"[{group}]\n{option} = typo\n")
    text = refusal("--config-file", file)
    assert "'typo'" in text
    assert f"([{group}] {option})" in text
    assert installed in text


def test_wrong_options_of_logging_are_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[DEFAULT]\ndebug = maybe\n")
    assert "bad configuration" in refusal("--config-file", file)
    assert "--debug" in capsys.readouterr().err


def test_wrong_arguments_end_with_a_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        load("--nonsense")
    assert "--nonsense" in capsys.readouterr().err


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        load("--version")
    assert capsys.readouterr().out.strip() == configuration.version()


def test_only_what_may_change_at_run_time_is_read_again(file: Path) -> None:
    conf = load("--config-file", file)
    file.write_text("[storage]\ndriver = swift\nprefix = other\nbytes_per_second = 7\n")
    configuration.reread(conf)
    assert conf.storage.bytes_per_second == 7
    assert (conf.storage.driver, conf.storage.prefix) == ("filesystem", "nightly")


def test_directories_are_read_again_too(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "conf.d"
    directory.mkdir()
    conf = load("--config-file", file, "--config-dir", directory)
    (directory / "late.conf").write_text("[storage]\nbytes_per_second = 8\n")
    configuration.reread(conf)
    assert conf.storage.bytes_per_second == 8


def _malform(file: Path) -> None:
    file.write_text("[storage]\nbytes_per_second\n")


def _too_low(file: Path) -> None:
    file.write_text("[storage]\nbytes_per_second = -7\n")


def _other_wrong_value(file: Path) -> None:
    file.write_text("[storage]\nbytes_per_second = 7\n[worker]\npack_size = large\n")


def _wrong_logging(file: Path) -> None:
    file.write_text("[DEFAULT]\ndebug = maybe\n[storage]\nbytes_per_second = 7\n")


@pytest.mark.parametrize(
    "damage", [Path.unlink, _malform, _too_low, _other_wrong_value, _wrong_logging]
)
def test_a_wrong_file_changes_nothing_at_run_time(
    file: Path, damage: Callable[[Path], None]
) -> None:
    conf = load("--config-file", file)
    damage(file)
    with pytest.raises(InvalidValue, match=r"bad configuration|an existing file"):
        configuration.reread(conf)
    assert conf.storage.bytes_per_second == 5000
    file.write_text("[storage]\nbytes_per_second = 9\n")
    configuration.reread(conf)
    assert conf.storage.bytes_per_second == 9


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (InvalidValue("[storage] driver is wrong"), 2, "error: [storage] driver is wrong\n"),
        (DatabaseUnavailable("no database"), 1, "error: no database\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    error: Exception, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    assert configuration.guarded(main) == code
    assert capsys.readouterr() == ("", told)


def test_programming_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        configuration.guarded(lambda: 1 // 0)
    assert configuration.guarded(lambda: None) == 0
    assert configuration.guarded(lambda: 3) == 3
