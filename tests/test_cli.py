"""The command line as code: what options become, and how errors end the process."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cvl import __main__ as process
from cvl import __version__, cli
from cvl.download import fetch as fetching
from cvl.download.fetch import Options
from cvl.download.select import Request
from cvl.errors import Cancelled, CvlError, DiskError, GateError, UsageError

COMMANDS = ("sources", "fetch", "convert", "verify-layout", "train", "status", "chat", "export", "demo")
run = CliRunner().invoke


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Request, Options]]:
    """What `cvl fetch` asks for; it ends before anything is looked at."""
    asked: list[tuple[Request, Options]] = []

    def prepare(_catalog: object, _root: object, request: Request, options: Options) -> None:
        asked.append((request, options))
        raise typer.Exit

    monkeypatch.setattr(fetching, "prepare", prepare)
    monkeypatch.delenv("CVL_SAM_LINKS", raising=False)
    return asked


def asked_by(prepared: list[tuple[Request, Options]], line: str) -> tuple[Request, Options]:
    assert run(cli.app, line.split()).exit_code == 0
    return prepared[-1]


def test_the_known_commands_are_all_there_are() -> None:
    names = [info.name or getattr(info.callback, "__name__", "") for info in cli.app.registered_commands]
    assert tuple(names) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_explains_itself(command: str) -> None:
    parameters: list[Any] = typer.main.get_command(cli.app).commands[command].params  # type: ignore[attr-defined]
    assert all(parameter.help for parameter in parameters if parameter.name != "help")
    assert "--json" in {option for parameter in parameters for option in parameter.opts}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_what_it_does(command: str) -> None:
    shown = run(cli.app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage: " in shown.stdout


def test_the_version_is_told() -> None:
    shown = run(cli.app, ["--version"])
    assert (shown.exit_code, shown.stdout) == (0, f"cvl {__version__}\n")


@pytest.mark.parametrize(
    "line", ["", "fly", "fetch --no-such-option", "convert", "status extra", "verify-layout --stage x"]
)
def test_a_command_line_that_makes_no_sense_ends_with_2(line: str) -> None:
    assert run(cli.app, line.split()).exit_code == 2


def test_names_and_stage_are_passed_on(prepared: list[tuple[Request, Options]]) -> None:
    request, options = asked_by(prepared, "fetch coco sam --stage 2")
    assert (request.names, request.stage) == (("coco", "sam"), 2)
    assert (request.shards, request.alternatives, request.mirrors) == ({}, {}, frozenset())
    assert options == Options()


@pytest.mark.parametrize(
    ("line", "shards"),
    [
        ("--shards 0-50", {"": tuple(range(51))}),
        ("--shards sam=0-2", {"sam": (0, 1, 2)}),
        ("--shards sam=0,7-8 --shards allava=3", {"sam": (0, 7, 8), "allava": (3,)}),
        ("--shards 5", {"": (5,)}),
    ],
)
def test_shards_are_inclusive_ranges_of_all_or_of_one(
    prepared: list[tuple[Request, Options]], line: str, shards: dict[str, tuple[int, ...]]
) -> None:
    assert asked_by(prepared, f"fetch sam allava {line}")[0].shards == shards


@pytest.mark.parametrize("text", ["5-2", "a", "sam=", "0..2", "-1"])
def test_shards_that_make_no_sense_are_refused_with_the_right_form(text: str) -> None:
    error = run(cli.app, ["fetch", "sam", f"--shards={text}"]).exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"--shards {text}: ")
    assert error.hint == "write --shards 0-50, or --shards sam=0-2"


@pytest.mark.parametrize(
    "line",
    [
        "ocrvqa --alternative urls",
        "coco ocrvqa --alternative urls",
        "all --alternative urls",
        "--stage 3 --alternative urls",
        "ocrvqa --alternative ocrvqa=urls",
    ],
)
def test_an_alternative_belongs_to_the_source_that_has_one(prepared: list[tuple[Request, Options]], line: str) -> None:
    assert asked_by(prepared, f"fetch {line}")[0].alternatives == {"ocrvqa": "urls"}


def test_an_alternative_of_no_named_source_is_refused() -> None:
    error = run(cli.app, ["fetch", "coco", "--alternative", "urls"]).exception
    assert isinstance(error, UsageError)
    assert error.hint == "write --alternative SOURCE=urls"


def test_every_option_of_fetch_reaches_the_fetch(prepared: list[tuple[Request, Options]], tmp_path: Path) -> None:
    line = f"fetch sam --jobs 2 --retries 3 --from {tmp_path} --sam-links {tmp_path}/l.txt --mirror a --mirror b "
    request, options = asked_by(prepared, line + "--skip-gated --accept-digest --keep-archives --retry-failed")
    assert request.mirrors == {"a", "b"}
    assert (options.jobs, options.policy.attempts) == (2, 3)
    assert (options.downloads, options.sam_links) == (tmp_path, tmp_path / "l.txt")
    assert all((options.skip_gated, options.accept_digest, options.keep_archives, options.retry_failed))


def test_the_list_of_links_may_be_named_by_the_environment(
    prepared: list[tuple[Request, Options]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVL_SAM_LINKS", "/lists/sam.txt")
    assert asked_by(prepared, "fetch sam")[1].sam_links == Path("/lists/sam.txt")


def test_a_folder_of_downloads_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run(cli.app, ["fetch", "coco", "--from", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "does not exist" in done.stderr


def test_a_picture_of_the_terminal_and_json_exclude_each_other(tmp_path: Path) -> None:
    error = run(cli.app, ["demo", str(tmp_path / "d"), "--record", "x.svg", "--json"]).exception
    assert isinstance(error, UsageError)
    assert list(tmp_path.iterdir()) == []


def raising(error: BaseException) -> Callable[[], None]:
    def app() -> None:
        raise error

    return app


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Runs `main` on a command that raises, without touching the tester's signals; returns the exit code."""

    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    # A cancelled command must not wait for threads; here the process is the tester's.
    monkeypatch.setattr(os, "_exit", end)

    def run_main(error: BaseException) -> int:
        monkeypatch.setattr(cli, "app", raising(error))
        with pytest.raises(SystemExit) as caught:
            process.main()
        assert isinstance(caught.value.code, int)
        return caught.value.code

    return run_main


@pytest.mark.parametrize(
    ("error", "code"),
    [(CvlError("x"), 1), (DiskError("x"), 1), (UsageError("x"), 2), (GateError("x"), 2), (Cancelled("x"), 130)],
)
def test_an_error_ends_the_process_with_its_code(
    main: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str], error: CvlError, code: int
) -> None:
    assert main(error) == code
    assert capsys.readouterr() == ("", "error: x\n")


def test_what_the_disk_says_is_told_without_a_traceback(
    main: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "tree/cvl.lock")) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: tree/cvl.lock: Not a directory\n\nhint: ")


def test_an_error_of_ours_in_the_code_is_not_hidden(main: Callable[[BaseException], int]) -> None:
    with pytest.raises(ZeroDivisionError):
        main(ZeroDivisionError())


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_to_stop_is_an_error_of_its_own(wish: signal.Signals) -> None:
    with pytest.raises(Cancelled) as caught:
        process._stop(wish, None)
    assert caught.value.hint == "run the same command again to go on"
