"""The Hugging Face hub's addresses: repositories, their trees, their files, and the network that hands out LFS."""

from __future__ import annotations

import secrets
import time
from html import escape
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlencode

from cvl.demo.internet.exchange import Reply, Request, json_reply, page, redirect, text
from cvl.demo.internet.repository import RepoFile, Repository
from cvl.demo.internet.resource import Answer, Resource

HUB_HOST = "huggingface.co"
CDN_HOST = "cdn-lfs.huggingface.co"
LINK_LIFETIME = 3600.0


class _Refusal(Exception):
    """There is nothing to answer but an error; `reply` is that error."""

    def __init__(self, status: int, code: str, words: str, **headers: str) -> None:
        super().__init__(words)
        self.reply = text(status, words, X_Error_Code=code, X_Error_Message=words, **headers)


def hub(folder: Path, request: Request) -> Answer:
    """The answer of `huggingface.co`.

    Args:
        folder: holds `datasets/<owner>/<name>/` and `models/<owner>/<name>/`.
        request: for a repository's information (`/api/…`), its tree, one of its files (`resolve`), or a file's page
            (`blob`).
    """
    try:
        return _route(folder, request)
    except _Refusal as refusal:
        return refusal.reply


def cdn(folder: Path, request: Request) -> Answer:
    """The answer of the network that hands out LFS files: 403 without a link that is still good.

    Like the real one it refuses a request that brings a token along, with 400: the link is the only credential.
    """
    if "authorization" in request.headers:
        return text(HTTPStatus.BAD_REQUEST, "Only one way of authentication is allowed")
    expires = request.query.get("Expires", "")
    if not expires.isdecimal() or int(expires) <= time.time():
        return text(HTTPStatus.FORBIDDEN, "This link has expired")
    file = _find_object(folder, request)
    if file is None:
        return text(HTTPStatus.NOT_FOUND, "No such object")
    disposition = f"attachment; filename*=UTF-8''{quote(request.query.get('name', file.path))}"
    return Resource.of(file.source, etag=f'"{file.sha256}"', headers={"Content-Disposition": disposition})


def _route(folder: Path, request: Request) -> Answer:
    match request.parts:
        case ("api", kind, owner, name):
            return _information(_open(folder, request, kind, owner, name), "main", request)
        case ("api", kind, owner, name, "revision", revision):
            return _information(_open(folder, request, kind, owner, name), revision, request)
        case ("api", kind, owner, name, "tree", revision, *path):
            return _tree(_open(folder, request, kind, owner, name), revision, "/".join(path), request)
        case ("datasets", owner, name, "resolve" | "blob" as verb, revision, *path):
            return _file(_open(folder, request, "datasets", owner, name), revision, "/".join(path), verb)
        case (owner, name, "resolve" | "blob" as verb, revision, *path):
            return _file(_open(folder, request, "models", owner, name), revision, "/".join(path), verb)
    return page(HTTPStatus.NOT_FOUND, "404", "<p>There is no such page on the stand-in hub.</p>")


def _find(folder: Path, kind: str, owner: str, name: str) -> Repository | None:
    place = folder / kind / owner / name
    plain = kind in ("datasets", "models") and not {".", "..", ""} & {owner, name} and "/" not in owner + name
    return Repository(kind, f"{owner}/{name}", place) if plain and place.is_dir() else None


def _find_object(folder: Path, request: Request) -> RepoFile | None:
    match request.parts:
        case (kind, owner, name, sha256) if repository := _find(folder, kind, owner, name):
            return next((file for file in repository.files.values() if file.sha256 == sha256), None)
    return None


def _open(folder: Path, request: Request, kind: str, owner: str, name: str) -> Repository:
    repository = _find(folder, kind, owner, name)
    if repository is None:
        raise _Refusal(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found")
    if repository.gated and not request.headers.get("authorization", "").startswith("Bearer "):
        words = "Access to this repository is restricted: accept its conditions and send a token"
        raise _Refusal(HTTPStatus.FORBIDDEN, "GatedRepo", words)
    return repository


def _resolve(repository: Repository, revision: str) -> str:
    commit = repository.resolve(revision)
    if commit is None:
        raise _Refusal(HTTPStatus.NOT_FOUND, "RevisionNotFound", "Revision not found")
    return commit


def _information(repository: Repository, revision: str, request: Request) -> Reply:
    with_blobs = request.query.get("blobs", "").lower() == "true"
    return json_reply(
        {
            "id": repository.name,
            "author": repository.name.split("/")[0],
            "sha": _resolve(repository, revision),
            "private": False,
            "gated": "auto" if repository.gated else False,
            "disabled": False,
            "tags": [],
            "siblings": [_sibling(file, with_blobs) for file in repository.files.values()],
        }
    )


def _sibling(file: RepoFile, with_blobs: bool) -> dict[str, object]:
    if not with_blobs:
        return {"rfilename": file.path}
    entry: dict[str, object] = {"rfilename": file.path, "size": file.size, "blobId": file.oid}
    if file.sha256:
        entry["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return entry


def _tree(repository: Repository, revision: str, path: str, request: Request) -> Reply:
    commit = _resolve(repository, revision)
    recursive = request.query.get("recursive", "").lower() == "true"
    below = [file for file in repository.files.values() if not path or file.path.startswith(f"{path}/")]
    if path and not below:
        raise _Refusal(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
    start = f"{path}/" if path else ""
    above = {str(parent) for file in below for parent in PurePosixPath(file.path).parents[:-1]}
    folders = sorted(name for name in above if name.startswith(start))
    entries = [_folder_entry(name) for name in folders] + [_file_entry(file) for file in below]
    top = PurePosixPath(path)
    return json_reply([entry for entry in entries if recursive or PurePosixPath(str(entry["path"])).parent == top])


def _folder_entry(path: str) -> dict[str, object]:
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}


def _file_entry(file: RepoFile) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": file.oid, "size": file.size, "path": file.path}
    if file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return entry


def _file(repository: Repository, revision: str, path: str, verb: str) -> Answer:
    commit = _resolve(repository, revision)
    file = repository.files.get(path)
    if file is None:
        raise _Refusal(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
    if verb == "blob":
        return page(
            HTTPStatus.OK, escape(path), f"<p>{escape(path)} of {escape(repository.name)}, {file.size} bytes</p>"
        )
    if file.sha256 is None:
        return Resource.of(file.source, etag=f'"{file.oid}"', headers={"X-Repo-Commit": commit})
    linked = {"X_Linked_Etag": f'"{file.sha256}"', "X_Linked_Size": str(file.size)}
    return redirect(_signed_url(repository, file), X_Repo_Commit=commit, **linked)


def _signed_url(repository: Repository, file: RepoFile) -> str:
    # Every link is another one, as signatures with the time in them are: each expires on its own.
    fields = {
        "Expires": int(time.time() + LINK_LIFETIME),
        "Signature": secrets.token_hex(8),
        "name": PurePosixPath(file.path).name,
    }
    return f"https://{CDN_HOST}/{repository.kind}/{quote(repository.name)}/{file.sha256}?{urlencode(fields)}"
