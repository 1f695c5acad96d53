from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import (
    HfApi,
    close_session,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from cvl.demo.internet import Fault, FaultKind, Internet

REPO = "FreedomIntelligence/ALLaVA-4V"
MODEL = "lmsys/vicuna-7b-v1.5"
ARCHIVE = "allava_laion/image_chunks/images_0.zip"
README = "README.md"
ARCHIVE_BYTES = bytes(range(256)) * 64
README_BYTES = b"# ALLaVA-4V\n"
ARCHIVE_SHA = hashlib.sha256(ARCHIVE_BYTES).hexdigest()
README_OID = hashlib.sha1(b"blob 12\0" + README_BYTES).hexdigest()
PINNED = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "internet" / "hub" / "datasets" / REPO
    (folder / ARCHIVE).parent.mkdir(parents=True)
    (folder / ARCHIVE).write_bytes(ARCHIVE_BYTES)
    (folder / README).write_bytes(README_BYTES)
    model = tmp_path / "internet" / "hub" / "models" / MODEL
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    return folder


@pytest.fixture
def internet(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    with Internet(tmp_path / "internet") as internet:
        for name, value in internet.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "")
        close_session()
        yield internet
        close_session()


def metadata_url(path: str, revision: str = "main", endpoint: str | None = None) -> str:
    return hf_hub_url(REPO, path, repo_type="dataset", revision=revision, endpoint=endpoint)


def commit() -> str:
    sha = HfApi().dataset_info(REPO).sha
    assert sha is not None
    return sha


def test_information_names_revision_sizes_and_digests(internet: Internet) -> None:
    info = HfApi().dataset_info(REPO, files_metadata=True)
    assert info.id == REPO
    assert len(info.sha or "") == 40
    files = {each.rfilename: each for each in info.siblings or []}
    assert files.keys() == {ARCHIVE, README}
    assert (files[README].size, files[README].blob_id, files[README].lfs) == (12, README_OID, None)
    lfs = files[ARCHIVE].lfs
    assert lfs is not None
    assert (lfs.size, lfs.sha256) == (len(ARCHIVE_BYTES), ARCHIVE_SHA)


def test_models_are_found_beside_datasets(internet: Internet) -> None:
    info = HfApi().model_info(MODEL)
    assert [each.rfilename for each in info.siblings or []] == ["config.json"]
    assert hf_hub_url(MODEL, "config.json") == "https://huggingface.co/lmsys/vicuna-7b-v1.5/resolve/main/config.json"
    assert get_hf_file_metadata(hf_hub_url(MODEL, "config.json")).size == 2


def test_the_revision_depends_on_the_content_alone(internet: Internet, repository: Path) -> None:
    first = commit()
    os.utime(repository / README, (0, 0))
    assert commit() == first
    (repository / README).write_bytes(b"# changed\n")
    assert commit() != first


def test_the_tree_lists_folders_and_files_with_lfs_digests(internet: Internet) -> None:
    entries = {each.path: each for each in HfApi().list_repo_tree(REPO, recursive=True, repo_type="dataset")}
    folders = {path for path, each in entries.items() if isinstance(each, RepoFolder)}
    assert folders == {"allava_laion", "allava_laion/image_chunks"}
    archive, readme = entries[ARCHIVE], entries[README]
    assert isinstance(archive, RepoFile)
    assert isinstance(readme, RepoFile)
    assert archive.lfs is not None
    assert (archive.size, archive.lfs.sha256) == (len(ARCHIVE_BYTES), ARCHIVE_SHA)
    assert (readme.size, readme.blob_id, readme.lfs) == (12, README_OID, None)


def test_the_tree_shows_one_level_unless_it_is_asked_for_all(internet: Internet) -> None:
    def names(path: str | None = None) -> list[str]:
        return [each.path for each in HfApi().list_repo_tree(REPO, path, repo_type="dataset")]

    assert names() == ["allava_laion", README]
    assert names("allava_laion") == ["allava_laion/image_chunks"]
    assert names("allava_laion/image_chunks") == [ARCHIVE]
    with pytest.raises(EntryNotFoundError):
        names("allava_vflan")


def test_a_large_file_resolves_to_a_signed_link(internet: Internet) -> None:
    found = get_hf_file_metadata(metadata_url(ARCHIVE))
    assert (found.size, found.etag, found.commit_hash) == (len(ARCHIVE_BYTES), ARCHIVE_SHA, commit())
    assert found.location.startswith("https://cdn-lfs.huggingface.co/")
    part = httpx.get(found.location, headers={"Range": "bytes=100-"})
    assert (part.status_code, part.content) == (206, ARCHIVE_BYTES[100:])
    assert part.headers["etag"] == f'"{ARCHIVE_SHA}"'


def test_a_small_file_is_answered_directly(internet: Internet) -> None:
    url = metadata_url(README)
    found = get_hf_file_metadata(url)
    assert (found.size, found.etag, found.location) == (12, README_OID, url)
    assert httpx.get(url).content == README_BYTES


def test_the_link_expires(internet: Internet) -> None:
    location = httpx.URL(get_hf_file_metadata(metadata_url(ARCHIVE)).location)
    assert int(location.params["Expires"]) > time.time()
    assert httpx.get(location.copy_merge_params({"Expires": "1"})).status_code == 403
    assert httpx.get(location.copy_with(query=None)).status_code == 403


def test_the_link_refuses_a_token_beside_it(internet: Internet) -> None:
    location = get_hf_file_metadata(metadata_url(ARCHIVE)).location
    assert httpx.get(location, headers={"Authorization": "Bearer hf_x"}).status_code == 400


def test_a_link_to_no_object_gets_404(internet: Internet) -> None:
    for path in ("", "/", f"/datasets/{REPO}/{'0' * 64}", f"/datasets/no/repo/{ARCHIVE_SHA}", "/a/b"):
        assert httpx.get(f"https://cdn-lfs.huggingface.co{path}?Expires=99999999999").status_code == 404


@pytest.mark.parametrize("path", [ARCHIVE, README])
def test_huggingface_hub_downloads_a_file(internet: Internet, tmp_path: Path, path: str) -> None:
    file = hf_hub_download(REPO, path, repo_type="dataset", cache_dir=tmp_path / "cache", token="hf_x")
    assert Path(file).read_bytes() == {ARCHIVE: ARCHIVE_BYTES, README: README_BYTES}[path]


def test_huggingface_hub_downloads_a_snapshot(internet: Internet, tmp_path: Path) -> None:
    snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "local", max_workers=2)
    assert (tmp_path / "local" / ARCHIVE).read_bytes() == ARCHIVE_BYTES
    assert (tmp_path / "local" / README).read_bytes() == README_BYTES


def test_huggingface_hub_resumes_what_was_cut(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    internet.inject(Fault("https://cdn-lfs.*", FaultKind.TRUNCATE, after=1000))
    file = hf_hub_download(REPO, ARCHIVE, repo_type="dataset", cache_dir=tmp_path)
    assert Path(file).read_bytes() == ARCHIVE_BYTES
    assert [each.range for each in internet.exchanges if "cdn-lfs" in each.url] == [None, "bytes=1000-"]


def test_pinned_revisions_stand_for_the_content(internet: Internet, repository: Path) -> None:
    (repository / ".revisions").write_text(f"{PINNED}\n{'f' * 40}\n")
    for revision in (PINNED, "f" * 40):
        assert HfApi().dataset_info(REPO, revision=revision).sha == revision
        assert get_hf_file_metadata(metadata_url(ARCHIVE, revision)).commit_hash == revision
        assert list(HfApi().list_repo_tree(REPO, revision=revision, repo_type="dataset"))
    assert get_hf_file_metadata(metadata_url(ARCHIVE, commit())).etag == ARCHIVE_SHA


def test_our_own_notes_are_no_part_of_the_repository(internet: Internet, repository: Path) -> None:
    before = commit()
    (repository / ".revisions").write_text(PINNED)
    (repository / ".gitattributes").write_text("*.zip filter=lfs\n")
    names = [each.rfilename for each in HfApi().dataset_info(REPO).siblings or []]
    assert names == [".gitattributes", README, ARCHIVE]
    assert commit() != before
    with pytest.raises(EntryNotFoundError):
        get_hf_file_metadata(metadata_url(".revisions"))


@pytest.mark.parametrize("revision", [PINNED, "dev", PINNED[:7], "../main", ".revisions"])
def test_an_unknown_revision_is_not_found(internet: Internet, repository: Path, revision: str) -> None:
    (repository / ".revisions").write_text("f" * 40)
    with pytest.raises(RevisionNotFoundError):
        get_hf_file_metadata(metadata_url(README, revision))
    with pytest.raises(RevisionNotFoundError):
        HfApi().dataset_info(REPO, revision=revision)


def test_an_unknown_file_is_not_found_and_names_the_revision(internet: Internet) -> None:
    for path in ("images.zip", "allava_laion", "allava_laion/", "ü\n.json"):
        with pytest.raises(EntryNotFoundError):
            get_hf_file_metadata(metadata_url(path))
    assert httpx.head(metadata_url("images.zip")).headers["x-repo-commit"] == commit()


def test_an_unknown_repository_is_not_found(internet: Internet) -> None:
    for name in ("no/repo", "FreedomIntelligence/other"):
        with pytest.raises(RepositoryNotFoundError):
            HfApi().dataset_info(name)
    with pytest.raises(RepositoryNotFoundError):
        HfApi().model_info(REPO)


def test_a_gated_repository_wants_a_token(internet: Internet, repository: Path) -> None:
    (repository / ".gated").touch()
    with pytest.raises(GatedRepoError):
        get_hf_file_metadata(metadata_url(ARCHIVE))
    with pytest.raises(GatedRepoError):
        HfApi().dataset_info(REPO, token=False)
    assert get_hf_file_metadata(metadata_url(ARCHIVE), token="hf_x").etag == ARCHIVE_SHA
    assert HfApi().dataset_info(REPO, token="hf_x").gated == "auto"


def test_the_blob_address_is_a_web_page(internet: Internet) -> None:
    reply = httpx.get(metadata_url(ARCHIVE).replace("/resolve/", "/blob/"))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert httpx.get("https://huggingface.co/").status_code == 404


@pytest.mark.parametrize("proxied", [False, True])
def test_the_own_address_is_the_hub_with_links_that_lead_back(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxied: bool
) -> None:
    if not proxied:
        for name in internet.environment():
            monkeypatch.delenv(name)
        monkeypatch.setenv("NO_PROXY", "*")
        close_session()
    found = get_hf_file_metadata(metadata_url(ARCHIVE, endpoint=internet.url), endpoint=internet.url)
    assert (found.size, found.etag) == (len(ARCHIVE_BYTES), ARCHIVE_SHA)
    assert found.location.startswith("http://127.0.0.1:")
    assert not found.location.startswith(internet.url)
    file = hf_hub_download(
        REPO, ARCHIVE, repo_type="dataset", cache_dir=tmp_path / "cache", endpoint=internet.url, token="hf_x"
    )
    assert Path(file).read_bytes() == ARCHIVE_BYTES
    assert {httpx.URL(each.url).host for each in internet.exchanges} == {"huggingface.co", "cdn-lfs.huggingface.co"}


def test_a_child_process_gets_there_by_the_environment_alone(internet: Internet, tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from huggingface_hub import HfApi, hf_hub_download, constants\n"
        "repo, file = sys.argv[1:]\n"
        "path = hf_hub_download(repo, file, repo_type='dataset')\n"
        "size = len(open(path, 'rb').read())\n"
        "print(json.dumps([constants.ENDPOINT, HfApi().dataset_info(repo).sha, size]))\n"
    )
    own = internet.environment() | {"HF_HOME": str(tmp_path / "hf")}
    for endpoint in ("https://huggingface.co", internet.url):
        child = subprocess.run(
            [sys.executable, "-c", script, REPO, ARCHIVE],
            env={**os.environ, "HF_HUB_OFFLINE": "1", **own, "HF_ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(child.stdout) == [endpoint, commit(), len(ARCHIVE_BYTES)]
