"""`--set KEY=VALUE`: a stage manifest with single numbers changed for one run, held to the same rules as the file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from typing import Any

from cvl.errors import UsageError
from cvl.manifest.fields import Frozen
from cvl.manifest.load import validate
from cvl.manifest.stage import Document, Run, Scripts, Stage

_TABLES: dict[str, type[Frozen]] = {"document": Document, "scripts": Scripts, "run": Run}
_LISTS = ("train", "data")


def override(stage: Stage, changes: Iterable[str]) -> Stage:
    """`stage` with each of `changes` made, in their order.

    A change is `KEY=VALUE` with a key of one of the tables and a value as TOML writes it, quotes left out. `train` and
    `data` are lists of names with commas between; names that begin with `+` or `-` join or leave the list.

    Raises:
        UsageError: there is no such key, or the change has no `=`.
        ManifestError: the key cannot have that value.
    """
    for change in changes:
        stage = _changed(stage, change)
    return stage


def settings(stage: Stage) -> dict[str, Any]:
    """Every key that `override` knows with its value, the tables' one after the other."""
    return {name: getattr(stage, name) for name in _LISTS} | {
        key: getattr(getattr(stage, table), key) for table, kind in _TABLES.items() for key in kind.model_fields
    }


def _changed(stage: Stage, change: str) -> Stage:
    key, equals, text = change.partition("=")
    if not equals or key not in settings(stage):
        raise UsageError(f"--set {change}: {_problem(stage, key, equals)}", hint=_known(stage, key))
    values = stage.model_dump()
    if key in _LISTS:
        values[key] = _edited(values[key], text)
    else:
        table = next(table for table, kind in _TABLES.items() if key in kind.model_fields)
        values[table][key] = _value(text)
    return validate(values, Stage, f"--set {change}")


def _problem(stage: Stage, key: str, equals: str) -> str:
    if key not in settings(stage):
        return f"a stage has no `{key}`"
    return "says no value" if not equals else "cannot be read"


def _known(stage: Stage, key: str) -> str:
    names = list(settings(stage))
    if key in names:
        return f"write --set {key}=VALUE"
    near = difflib.get_close_matches(key, names, n=1)
    return f"did you mean `{near[0]}`?" if near else f"a stage has: {', '.join(names)}"


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _edited(names: tuple[str, ...], text: str) -> tuple[str, ...]:
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if not wanted or not all(name[0] in "+-" for name in wanted):
        return tuple(wanted)
    for name in wanted:
        rest = tuple(other for other in names if other != name[1:])
        names = (*rest, name[1:]) if name[0] == "+" else rest
    return names
