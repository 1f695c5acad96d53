"""Checkpoints on the hub: downloaded once into huggingface_hub's cache, `HF_ENDPOINT` and `HF_TOKEN` respected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, errors, snapshot_download

from cvl.errors import GoneError, RefusedError, TransferError, UsageError

# The folders of a repository that a checkpoint may lie in: its own, and that of the tower in the published layout.
_FOLDERS = ("", "vision_tower")
_DESCRIPTIONS = ("*.json", "*.model")
_SAFETENSORS = "model*.safetensors"
_PICKLED = "pytorch_model*.bin"


def fetch_repository(repository: str) -> Path:
    """The folder of a hub repository's checkpoint, downloaded if it is not in the cache.

    Of weights that lie there twice, as safetensors and as `.bin`, only the safetensors are brought.

    Raises:
        UsageError: this cannot be the name of a repository.
        GoneError: there is no such repository, or the token may not see it.
        RefusedError: its terms are not accepted, or the hub must not be asked.
        TransferError: the hub cannot be reached.
    """
    with _translated(repository):
        try:
            names = HfApi().list_repo_files(repository)
        except errors.OfflineModeIsEnabled:
            return Path(snapshot_download(repository, local_files_only=True))
        wanted = [name for folder in _FOLDERS for name in _wanted(names, folder)]
        return Path(snapshot_download(repository, allow_patterns=wanted))


def _wanted(names: Sequence[str], folder: str) -> list[str]:
    here = [PurePosixPath(name) for name in names if PurePosixPath(name).parent == PurePosixPath(folder)]
    weights = _SAFETENSORS if any(fnmatchcase(path.name, _SAFETENSORS) for path in here) else _PICKLED
    return [str(path) for path in here if any(fnmatchcase(path.name, kind) for kind in (*_DESCRIPTIONS, weights))]


@contextmanager
def _translated(repository: str) -> Iterator[None]:
    """Turn huggingface_hub's errors into ours, in one place."""
    from httpx2 import HTTPError  # noqa: PLC0415 - huggingface_hub's own client, which nothing else here needs

    try:
        yield
    except errors.HFValidationError as error:
        hint = "name a folder, or a repository as ORGANISATION/NAME"
        raise UsageError(f"{repository!r} is neither a folder nor a repository of the hub", hint=hint) from error
    except errors.GatedRepoError as error:
        hint = "accept its terms on the hub, then `hf auth login` or set HF_TOKEN"
        raise RefusedError(f"{repository}: the repository asks you to accept its terms", hint=hint) from error
    except errors.RepositoryNotFoundError as error:
        hint = "check its name; a private one needs `hf auth login` or HF_TOKEN"
        raise GoneError(
            f"{repository}: the hub has no such repository, or none that this token may see", hint=hint
        ) from error
    except errors.LocalEntryNotFoundError as error:
        hint = "unset HF_HUB_OFFLINE, or look at the connection"
        raise RefusedError(f"{repository} is not in the cache, and the hub cannot be asked", hint=hint) from error
    except errors.HfHubHTTPError as error:
        raise TransferError(
            f"{repository}: the hub says {error.response.status_code}", hint="try again later"
        ) from error
    except (HTTPError, OSError) as error:
        hint = "look at the connection; HF_ENDPOINT names another hub"
        raise TransferError(f"{repository}: {str(error) or type(error).__name__}", hint=hint) from error
