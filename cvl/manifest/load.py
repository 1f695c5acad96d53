"""TOML to frozen values. Whatever is wrong is said with the file, the key and the mend."""

from __future__ import annotations

import difflib
import reprlib
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cvl.errors import ManifestError
from cvl.manifest.fields import TABLE, VALUE

M = TypeVar("M", bound=BaseModel)


def load(path: Path, model: type[M]) -> M:
    """The manifest at `path` as a `model`.

    Raises:
        ManifestError: it cannot be read, is not TOML, or does not fit; names the file, the key and the mend.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise ManifestError(path, "whole file", problem, mend="check that it is a file that you may read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(path, "whole file", f"is not TOML: {error}", mend="see docs/manifests.md") from error
    return validate(values, model, path)


def validate(values: dict[str, Any], model: type[M], origin: Path | str) -> M:
    """Plain values as a `model`. `origin` is where they are written, for errors.

    Raises:
        ManifestError: they do not fit; names the origin, the key and the mend.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(origin, model, _first(error.errors())) from None


def _first(details: list[ErrorDetails]) -> ErrorDetails:
    """The detail to tell: of a misspelt key rather than of the required one that is missing because of it."""
    return next((detail for detail in details if detail["type"] == "extra_forbidden"), details[0])


def _explain(path: Path | str, model: type[BaseModel], detail: ErrorDetails) -> ManifestError:
    context = detail.get("ctx", {})
    key = _key(detail["loc"])
    match detail["type"]:
        case "manifest":
            return ManifestError(path, key, context["problem"], mend=context["mend"])
        case "extra_forbidden":
            return ManifestError(path, key, "is not a key that cvl knows", mend=_nearest(model, detail["loc"]))
        case "missing":
            return ManifestError(path, key, "is missing", mend=f"add `{detail['loc'][-1]}`")
        case "tuple_type":
            header = ".".join(part for part in detail["loc"] if isinstance(part, str))
            mend = f"write [[{header}]]" if isinstance(detail["input"], dict) else "put it in brackets: [ … ]"
            return ManifestError(path, key, "is one value where a list is expected", mend=mend)
        case _:
            problem = f"{_lower(detail['msg'])}, found {reprlib.repr(detail['input'])}"
            return ManifestError(path, key, problem, mend="see docs/manifests.md for what it may be")


def _key(location: tuple[int | str, ...]) -> str:
    key = ""
    for part in location:
        # Beside keys, a location names branches of `PerShard`, and that it is a key that is wrong.
        if part not in (VALUE, TABLE, "[key]"):
            key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key or "whole file"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _nearest(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    known = sorted(_fields_at(model, location[:-1]))
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"remove it; known here: {', '.join(known)}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Names of the keys that the table at `location` may have."""
    current: Any = model
    for part in location:
        if isinstance(part, str) and _is_model(current) and part in current.model_fields:
            current = _inner_model(current.model_fields[part].annotation)
    return set(current.model_fields) if _is_model(current) else set()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner_model(annotation: Any) -> Any:
    """The table's class within `Table | None` or `tuple[Table, ...]`."""
    if _is_model(annotation):
        return annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union, tuple):
        return next((inner for arg in typing.get_args(annotation) if (inner := _inner_model(arg))), None)
    return None
