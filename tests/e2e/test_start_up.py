"""The command line as a stranger meets it: quick help, plain errors, clean streams."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support import Cvl

from cvl.root import Root

COMMANDS = ("sources", "fetch", "convert", "verify-layout", "train", "status", "chat", "export", "demo")
HEAVY = {"torch", "transformers", "httpx", "huggingface_hub", "gdown", "pydantic", "numpy", "PIL", "msgspec"}
IMPORTED = """
import sys
from cvl.cli import app
try:
    app(sys.argv[1:])
finally:
    print("loaded:", *sorted(sys.modules), file=sys.stderr)
"""
ESCAPE = "\x1b"


def loaded(cvl: Cvl, *arguments: str) -> set[str]:
    done = cvl.python(IMPORTED, *arguments)
    assert done.code == 0
    return set(done.stderr.split("loaded: ")[1].split())


def test_the_first_help_loads_nothing_of_weight(cvl: Cvl) -> None:
    assert not HEAVY & loaded(cvl, "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_loads_nothing_that_only_its_work_needs(cvl: Cvl, command: str) -> None:
    # pydantic is what typer itself looks at options with.
    assert not (HEAVY - {"pydantic"}) & loaded(cvl, command, "--help")


def test_a_worker_process_begins_with_nothing_that_only_commands_need(cvl: Cvl) -> None:
    done = cvl.python("import sys, cvl.__main__; print({'typer', 'rich', 'click', 'cvl.cli'} & set(sys.modules))")
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", ["sources", "status"])
def test_looking_at_the_disk_loads_no_torch_and_no_hub(cvl: Cvl, command: str) -> None:
    assert not {"torch", "transformers", "huggingface_hub", "gdown"} & loaded(cvl, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cvl: Cvl, command: str) -> None:
    for flag in ("--help", "-h"):
        done = cvl(command, flag)
        assert (done.code, done.stderr) == (0, "")
        assert command in done.stdout
        assert "--json" in done.stdout


def test_the_first_help_names_every_command_and_the_exit_codes(cvl: Cvl) -> None:
    done = cvl("--help")
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)
    codes = "0 done, 1 work failed, 2 wrong usage, manifest or gate, 3 verification found problems, 130 cancelled"
    assert codes in " ".join(done.stdout.split())


def test_the_version_is_told(cvl: Cvl) -> None:
    done = cvl("--version")
    assert done.code == 0
    assert done.stdout.startswith("cvl ")


MISTAKES = {
    "unknown command": (("fly",), "No such command 'fly'"),
    "no command": ((), "Usage: "),
    "nothing to fetch": (("fetch",), "name a source (`cvl sources` lists them), or `all`"),
    "nearly a source": (("fetch", "ocr_vqa"), "did you mean `ocrvqa`?"),
    "nearly a source, listed": (("sources", "cocoa"), "did you mean `coco`?"),
    "nothing like a source": (("convert", "zebra"), "`cvl sources` lists them all"),
    "nothing to convert": (("convert", "gqa"), "sources that do: ocrvqa"),
    "unknown option": (("fetch", "coco", "--fast"), "No such option: --fast"),
    "unknown stage": (("verify-layout", "--stage", "4"), "stages are 1, 2 and 3"),
    "unknown stage to fetch": (("fetch", "--stage", "0"), "stages are 1, 2 and 3"),
    "no tree": (("verify-layout",), "name the tree with --root or CVL_ROOT"),
    "nothing fetched to convert": (("convert", "ocrvqa"), "cvl fetch ocrvqa"),
    "unknown mirror": (("fetch", "sam", "--mirror", "moon"), "hub-backup"),
    "unknown alternative": (("fetch", "ocrvqa", "--alternative", "moon"), "alternatives of ocrvqa: urls"),
    "no such manifests": (("sources", "--manifests", "none"), "check --manifests or CVL_MANIFESTS"),
    "no such downloads": (("fetch", "coco", "--from", "none"), "'none' does not exist"),
    "no jobs": (("fetch", "coco", "--jobs", "0"), "--jobs"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_what_to_do_and_writes_nothing(cvl: Cvl, tree: Root, name: str) -> None:
    arguments, said = MISTAKES[name]
    done = cvl(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not tree.data.exists()


@pytest.mark.parametrize("command", ["sources", "status", "fetch coco", "convert ocrvqa"])
def test_a_root_that_is_a_file_is_told_without_a_traceback(cvl: Cvl, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = cvl(*command.split(), "--root", tmp_path / "file")
    assert done.code in (1, 2)
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "file") in done.stderr


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("cvl.lock", "garbage", "is not a lock file"),
        ("cvl.lock", '{"version": 99, "files": {}}', "format 99"),
        ("data/.cvl/skiplist.json", "garbage", "is not a skip list"),
    ],
)
def test_a_spoiled_note_is_named_with_the_way_out(cvl: Cvl, complete: Root, path: str, content: str, said: str) -> None:
    complete.at(path).write_text(content)
    done = cvl("verify-layout") if "skiplist" in path else cvl("status")
    assert (done.code, done.stdout) == (2, "")
    assert f"{complete.at(path)} " in done.stderr
    assert said in done.stderr
    assert "hint: " in done.stderr


JSON = ("sources", "sources coco sam", "status", "verify-layout", "convert ocrvqa", "fetch all", "fetch all --dry-run")


@pytest.mark.usefixtures("complete")
def test_json_is_all_that_stdout_has(cvl: Cvl) -> None:
    for line in JSON:
        done = cvl(*line.split(), "--json")
        assert (done.code, len(done.lines)) == (0, 1), line
        assert ESCAPE not in done.stdout + done.stderr


@pytest.mark.usefixtures("links")
def test_json_of_a_fetch_is_a_line_an_event_and_the_result_at_last(cvl: Cvl) -> None:
    done = cvl("fetch", "coco", "sam", "llava", "--shards", "0-9", "--json")
    assert (done.code, done.stderr) == (0, "")
    *events, result = done.lines
    assert {event["kind"] for event in events} <= {"start", "progress", "check", "unpack", "done"}
    ended = [event["name"] for event in events if event["kind"] == "done"]
    assert sorted(ended) == sorted(
        ["coco-train2017.zip", "llava_v1_5_mix665k.json"] + [f"sam-{n:06d}.tar" for n in range(10)]
    )
    assert (result["kind"], result["failed"]) == ("result", 0)
    assert result["bytes"] == sum(outcome["bytes"] for outcome in result["result"]["outcomes"]) > 0


def test_json_of_a_mistake_leaves_stdout_empty(cvl: Cvl) -> None:
    done = cvl("fetch", "cocoa", "--json")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no source called `cocoa`\n")


@pytest.mark.usefixtures("complete")
def test_pipes_get_data_on_stdout_and_no_escape_codes(cvl: Cvl) -> None:
    for line in ("sources", "sources sam", "status", "verify-layout", "fetch all --dry-run"):
        done = cvl(*line.split())
        assert (done.code, done.stderr) == (0, ""), line
        assert done.stdout
        assert ESCAPE not in done.stdout


def in_a_terminal(cvl: Cvl, line: str, **env: str) -> str:
    """What `cvl LINE` shows in a real terminal."""
    leader, follower = pty.openpty()
    try:
        environment = cvl.environment | {"TERM": "xterm-256color", "COLUMNS": "120"} | env
        command = [sys.executable, "-m", "cvl", *line.split()]
        with subprocess.Popen(command, env=environment, stdout=follower, stderr=follower, cwd=cvl.folder) as process:
            os.close(follower)
            shown = b""
            while True:
                try:
                    chunk = os.read(leader, 65536)
                except OSError:  # Linux says so at the end of a terminal
                    break
                if not chunk:
                    break
                shown += chunk
            process.wait(timeout=60)
    finally:
        os.close(leader)
    return shown.decode()


def test_a_terminal_gets_colours_and_live_bars(cvl: Cvl) -> None:
    shown = in_a_terminal(cvl, "fetch coco")
    assert ESCAPE in shown
    assert "/1 file" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_no_color_is_respected_in_a_terminal(cvl: Cvl) -> None:
    assert "31m" in in_a_terminal(cvl, "fetch cocoa")
    assert "31m" not in in_a_terminal(cvl, "fetch cocoa", NO_COLOR="1")


def test_no_color_forbids_live_bars_too(cvl: Cvl) -> None:
    shown = in_a_terminal(cvl, "fetch coco", NO_COLOR="1")
    assert "\x1b[?25l" not in shown
    assert "/1 file" not in shown
    assert "coco-train2017.zip: begins (84.1 kB)\r\ncoco-train2017.zip: done\r\n" in shown


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback(cvl: Cvl) -> None:
    for option in ("", "--json"):
        done = cvl.typed(f"cvl sources {option} | true; exit ${{PIPESTATUS[0]}}")
        assert "rror" not in done.stderr
        assert done.code in (0, 1)


def test_the_tree_is_named_by_option_or_environment_and_is_sharegpt4v_by_default(cvl: Cvl, tmp_path: Path) -> None:
    by_option = cvl("status", "--root", "elsewhere", "--json")
    assert by_option.json["root"] == "elsewhere"
    assert cvl("status", "--json").json["root"] == str(tmp_path / "ShareGPT4V")
    del cvl.environment["CVL_ROOT"]
    assert json.loads(cvl("status", "--json").stdout)["root"] == "ShareGPT4V"
