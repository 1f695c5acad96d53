"""What the documents and our own messages tell a user to type exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cvl import cli
from cvl.manifest import Catalog

CHECKOUT = Path(__file__).parents[2]
SPAN = re.compile(r"`cvl ([^`]+)`")
LINE = re.compile(r"^(?:#   |export .*; )?(?:\$ )?cvl ([a-z].*)$", flags=re.MULTILINE)
TARGET = re.compile(r"(?:`|^)make ([a-z]+)", flags=re.MULTILINE)


def documents() -> list[Path]:
    found = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    found += sorted((CHECKOUT / "docs").glob("*.md")) + sorted((CHECKOUT / "manifests").rglob("*.toml"))
    return [path for path in found if path.exists()]


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command that a text tells to type, without what a comment says of it."""
    for pattern in (SPAN, LINE):
        for match in pattern.finditer(text):
            yield re.split(r"  +|\s*#|\|", match[1])[0].split()


def options_of(command: str) -> set[str]:
    commands: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    return {option for parameter in commands[command].params for option in parameter.opts}


def known() -> set[str]:
    commands: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    return set(commands)


def assert_can_be_typed(words: list[str], where: str) -> None:
    if words[0].startswith("-"):
        return
    assert words[0] in known(), f"{where}: cvl {' '.join(words)}"
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= options_of(words[0]) | {"--help"}, f"{where}: cvl {' '.join(words)}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_commands_in_documents_can_be_typed(path: Path) -> None:
    for words in commands(path.read_text(encoding="utf-8")):
        assert_can_be_typed(words, path.name)


def test_commands_in_our_messages_can_be_typed() -> None:
    found = 0
    for path in sorted((CHECKOUT / "cvl").rglob("*.py")):
        for match in SPAN.finditer(path.read_text(encoding="utf-8")):
            # What a message fills in stands for a source's name.
            assert_can_be_typed(re.sub(r"\{[^}]*\}", "x", match[1]).split(), str(path))
            found += 1
    assert found > 20


def test_the_readme_has_the_commands_to_know_by_heart() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for line in ("cvl fetch coco sam --shards 0-50", "cvl convert ocrvqa", "cvl verify-layout", "cvl train --stage 1"):
        assert f"\n{line}\n" in text


def test_the_readme_names_every_source(catalog: Catalog) -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in catalog.sources)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_targets_of_make_exist(name: str) -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    for target in TARGET.findall((CHECKOUT / name).read_text(encoding="utf-8")):
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/manifests.md"])
def test_links_between_documents_lead_somewhere(name: str) -> None:
    path = CHECKOUT / name
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
