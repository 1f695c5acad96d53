"""The kinds of value that manifests hold, each with its check and the mend that a failed check proposes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag
from pydantic_core import PydanticCustomError

from cvl.manifest.shards import parse_shards

Certainty = Literal["confirmed", "single-source"]
T = TypeVar("T")

# Without the lookahead `hf://datasets/NAME`, which lacks the owner, would be the model `datasets/NAME`.
_HF_URL = re.compile(
    r"hf://(?P<dataset>datasets/)?(?P<repo>(?!datasets/)[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<path>.+))?"
)
_DRIVE_URL = re.compile(r"gdrive://[\w-]{10,}")
_OPENXLAB_URL = re.compile(r"openxlab://[\w.-]+/[\w.-]+/.+")
_DIGITS = {"md5": 32, "sha256": 64}


class Frozen(BaseModel):
    """A manifest's table: unknown keys are refused, values cannot change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def wrong(problem: str, mend: str) -> PydanticCustomError:
    """What a check raises: `problem` says what is wrong, `mend` what to write instead."""
    return PydanticCustomError("manifest", "{problem}", {"problem": problem, "mend": mend})


def _tree_path(value: str) -> str:
    path = PurePosixPath(value)
    climbs = path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value
    if climbs or path.parts[:1] not in (("data",), ("models",)):
        raise wrong(f"`{value}` leaves data/ and models/", "write a path below the root, such as data/mine/images")
    if path.parts[:2] == ("data", ".cvl"):
        raise wrong(f"`{value}` lies in cvl's own folder", "choose a folder of your own below data/")
    return path.as_posix()


def _link_target(value: str) -> str:
    if value.startswith("/"):
        return value
    if value.startswith("~"):
        raise wrong(f"`{value}` begins with a tilde, which only shells know", "write the whole path, from / on")
    return _tree_path(value)


def _name(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", value):
        raise wrong(f"`{value}` cannot be a name", "use letters, digits, dots, hyphens and underscores")
    return value


def _cache_name(value: str) -> str:
    if not re.fullmatch(r"[\w.{}:-]+", value) or value.startswith("."):
        raise wrong(
            f"`{value}` is not a file name", "use letters, digits, dots and hyphens, such as coco-train2017.zip"
        )
    return value


def _url(value: str) -> str:
    scheme, _, rest = value.partition(":")
    match scheme:
        case "http" | "https":
            good = _has_host(value)
        case "hf":
            good = _HF_URL.fullmatch(value) is not None
        case "gdrive":
            good = _DRIVE_URL.fullmatch(value) is not None
        case "links":
            good = bool(rest) and "/" not in rest
        case "openxlab":
            good = _OPENXLAB_URL.fullmatch(value) is not None
        case _:
            raise wrong(
                f"`{value}` has no scheme that cvl knows", "use http(s)://, hf://, gdrive://, links: or openxlab://"
            )
    if not good:
        raise wrong(f"`{value}` is not a whole {scheme} address", f"write it like {_EXAMPLES[scheme]}")
    return value


def _has_host(value: str) -> bool:
    try:
        return bool(urlsplit(value).hostname)
    except ValueError:  # brackets that are not an IPv6 address
        return False


def _file_url(value: str) -> str:
    """Refuse addresses that a browser shows a page for: what would come is HTML, not the file."""
    parts = urlsplit(_url(value))
    if parts.hostname == "drive.google.com":
        raise wrong(f"`{value}` is a page of Google Drive", f"write {_EXAMPLES['gdrive']}")
    if parts.hostname == "huggingface.co" and "/resolve/" not in parts.path:
        raise wrong(f"`{value}` is a page of the hub", f"write {_EXAMPLES['hf']}")
    return value


_EXAMPLES = {
    "http": "http://host/path/file.zip",
    "https": "https://host/path/file.zip",
    "hf": "hf://datasets/OWNER/NAME@REVISION/path/file.zip",
    "gdrive": "gdrive://FILE_ID (the id of a file, not of a folder)",
    "links": "links:sa_000000.tar",
    "openxlab": "openxlab://OWNER/NAME/path/file.tar",
}


def _shards(value: str) -> str:
    try:
        parse_shards(value)
    except ValueError as problem:
        raise wrong(str(problem), "write an inclusive range, such as 0-50") from None
    return value


def digest_check(algorithm: str) -> Any:
    """A check that a value is a lower-case hexadecimal digest of `algorithm` (md5 or sha256)."""

    def check(value: str) -> str:
        if not re.fullmatch(rf"[0-9a-f]{{{_DIGITS[algorithm]}}}", value):
            mend = f"write {_DIGITS[algorithm]} lower-case hexadecimal digits"
            raise wrong(f"`{value}` is no {algorithm} digest", mend)
        return value

    return AfterValidator(check)


VALUE, TABLE = "<value>", "<table>"
"""What pydantic calls the two branches of `PerShard`; no key of TOML is written like that."""


def _branch(value: object) -> str:
    return TABLE if isinstance(value, Mapping) else VALUE


PerShard = Annotated[Annotated[T, Tag(VALUE)] | Annotated[dict[int, T], Tag(TABLE)], Discriminator(_branch)]
"""One value, or a table from shard number to value, told apart beforehand: an error speaks of what was written."""

Name = Annotated[str, AfterValidator(_name)]
TreePath = Annotated[str, AfterValidator(_tree_path)]
LinkTarget = Annotated[str, AfterValidator(_link_target)]
CacheName = Annotated[str, AfterValidator(_cache_name)]
Url = Annotated[str, AfterValidator(_url)]
FileUrl = Annotated[str, AfterValidator(_file_url)]
ShardText = Annotated[str, AfterValidator(_shards)]
Md5 = Annotated[str, digest_check("md5")]
Sha256 = Annotated[str, digest_check("sha256")]


@dataclass(frozen=True)
class HubPlace:
    """What an `hf://` address names.

    Args:
        repo: `owner/name`.
        kind: `dataset` or `model`.
        revision: a branch or commit, None where the manifest leaves it to first contact.
        path: the file in the repository, empty for the whole of it.
    """

    repo: str
    kind: Literal["dataset", "model"]
    revision: str | None
    path: str


def hub_place(url: str) -> HubPlace:
    """The parts of an `hf://` address that has passed the manifest's check."""
    match = _HF_URL.fullmatch(url)
    assert match is not None, url
    kind: Literal["dataset", "model"] = "dataset" if match["dataset"] else "model"
    return HubPlace(match["repo"], kind, match["revision"], match["path"] or "")
