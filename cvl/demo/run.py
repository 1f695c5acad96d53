"""`cvl demo`: the whole journey on the miniature, by the real commands, against the stand-in on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cvl.demo.internet import Internet
from cvl.demo.manifests import write_manifests
from cvl.demo.miniature import build_world
from cvl.output.screen import Screen
from cvl.root import Root

COMMANDS = (
    "cvl sources",
    "cvl fetch coco sam --shards 0-50",
    "cvl fetch ocrvqa --alternative urls",
    "cvl convert ocrvqa",
    "cvl fetch all",
    "cvl verify-layout",
    "cvl status",
)
"""What a user types, in the order of the journey."""


def run_demo(folder: Path, record: Path | None = None, *, as_json: bool = False) -> int:
    """Walk the journey in `folder`; returns the exit code of the first command that fails, or 0.

    The miniature's internet is drawn into `folder/internet`, the tree grows in `folder/ShareGPT4V`. What is there
    already is used. With `record`, what is shown is kept as an SVG picture. With `as_json`, every command is run with
    `--json` and has stdout for itself.

    Raises:
        UsageError: `folder/internet` holds something else.
    """
    screen = Screen(record=record is not None, stderr=as_json)
    screen.say(f"The miniature of every source, drawn and packed as the real ones are: {folder / 'internet'}")
    world = build_world(folder / "internet")
    write_manifests(folder / "manifests", world)
    root = Root(folder / "ShareGPT4V")
    root.path.mkdir(parents=True, exist_ok=True)
    with Internet(world.folder) as internet:
        root.sam_links.write_text(internet.links_file(datetime.now(UTC) + timedelta(days=30)), encoding="utf-8")
        screen.say(f"Every host is played by this machine, at {internet.url}; nothing leaves it.")
        environment = os.environ | internet.environment() | _settings(folder, root)
        code = _walk(screen, environment, " --json" if as_json else "")
    if code == 0:
        screen.tree(root.data)
    if record is not None:
        screen.save(record)
    return code


def _settings(folder: Path, root: Root) -> dict[str, str]:
    return {
        "CVL_ROOT": str(root.path),
        "CVL_MANIFESTS": str(folder / "manifests"),
        # The user's own token and caches stay out of it.
        "HF_HOME": str(folder / "home"),
    }


def _walk(screen: Screen, environment: dict[str, str], options: str) -> int:
    for command in COMMANDS:
        screen.command(command + options)
        code = _run(command + options, screen, environment)
        if code:
            return code
    return 0


def _run(command: str, screen: Screen, environment: dict[str, str]) -> int:
    """Run one command as a process of its own; its output goes to the terminal, or to the picture."""
    sys.stdout.flush()
    arguments = [sys.executable, "-m", "cvl", *command.split()[1:]]
    if not screen.records:
        return subprocess.run(arguments, env=environment, check=False).returncode
    environment = environment | screen.environment()
    done = subprocess.run(
        arguments, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    screen.output(done.stdout.rstrip("\n"))
    return done.returncode
