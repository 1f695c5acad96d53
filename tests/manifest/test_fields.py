from __future__ import annotations

import os.path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cvl.manifest import HubPlace, hub_place
from cvl.manifest.fields import CacheName, FileUrl, LinkTarget, Md5, PerShard, Sha256, ShardText, TreePath, Url

Numbers = PerShard[int]
COMMIT = "70f9d1e5e1a697fe35830875cfc7de1dd590d727"


def accepted(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def refusal(kind: Any, value: object) -> tuple[str, str]:
    """What the check says is wrong with `value`, and the mend that it proposes."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    context = caught.value.errors()[0]["ctx"]
    return context["problem"], context["mend"]


class TestTreePath:
    @pytest.mark.parametrize(
        ("path", "kept"),
        [
            ("data/coco/train2017", "data/coco/train2017"),
            ("models/vicuna-7b-v1.5", "models/vicuna-7b-v1.5"),
            ("data", "data"),
            ("data/mine/", "data/mine"),
            ("data//mine/./images", "data/mine/images"),
            ("data/.hidden", "data/.hidden"),
            ("data/mine/.cvl", "data/mine/.cvl"),
        ],
    )
    def test_paths_below_data_and_models_are_kept_in_one_spelling(self, path: str, kept: str) -> None:
        assert accepted(TreePath, path) == kept

    @pytest.mark.parametrize(
        "path",
        [
            "/data/coco",
            "/etc/passwd",
            "data/../models/x",
            "data/../../etc",
            "../data/x",
            "data\\..\\x",
            "data/a\\b",
            "data/a\0b",
            "coco/train2017",
            "checkpoints/7b",
            "./../data",
            "Data/coco",
            "database/coco",
            "~/data",
            "",
            ".",
        ],
    )
    def test_a_path_that_leaves_data_and_models_is_refused(self, path: str) -> None:
        problem, mend = refusal(TreePath, path)
        assert problem == f"`{path}` leaves data/ and models/"
        assert mend == "write a path below the root, such as data/mine/images"

    @pytest.mark.parametrize("path", ["data/.cvl", "data/.cvl/archives/a.zip", "data//.cvl/x", "data/./.cvl"])
    def test_cvls_own_folder_is_refused(self, path: str) -> None:
        problem, mend = refusal(TreePath, path)
        assert problem == f"`{path}` lies in cvl's own folder"
        assert "a folder of your own" in mend

    @given(st.lists(st.sampled_from(["data", "models", "..", ".", ".cvl", "", "a", "b\\c", "/"]), max_size=6))
    def test_whatever_is_accepted_stays_below_the_two_folders(self, parts: list[str]) -> None:
        try:
            path = accepted(TreePath, "/".join(parts))
        except ValidationError:
            return
        resolved = os.path.normpath(os.path.join("/root", path))  # noqa: PTH118  (pathlib keeps `..`)
        assert resolved == f"/root/{path}"
        assert path.split("/")[0] in ("data", "models")
        assert path.split("/")[:2] != ["data", ".cvl"]


class TestLinkTarget:
    @pytest.mark.parametrize(
        "target", ["data/vflan/images_191task_1k", "data/web-celebrity/images/Choi_Min_sik*", "/mnt/shared/coco", "/"]
    )
    def test_a_target_is_a_path_of_the_tree_or_an_absolute_one(self, target: str) -> None:
        assert accepted(LinkTarget, target) == target

    @pytest.mark.parametrize("target", ["../elsewhere", "coco/train2017", "data/../../x", ""])
    def test_another_relative_target_is_refused(self, target: str) -> None:
        assert "leaves data/ and models/" in refusal(LinkTarget, target)[0]

    def test_a_tilde_is_refused_since_no_shell_will_read_it(self) -> None:
        problem, mend = refusal(LinkTarget, "~/pictures")
        assert "begins with a tilde" in problem
        assert mend == "write the whole path, from / on"


class TestCacheName:
    @pytest.mark.parametrize(
        "name", ["coco-train2017.zip", "sam-{shard:06d}.tar", "ALLaVA-Caption-LAION-4V.json", "vicuna-7b-v1.5"]
    )
    def test_plain_names_are_taken(self, name: str) -> None:
        assert accepted(CacheName, name) == name

    @pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b.zip", "/a.zip", "..\\a.zip", "a b.zip", "a\n.zip"])
    def test_what_is_more_than_a_file_name_is_refused(self, name: str) -> None:
        problem, mend = refusal(CacheName, name)
        assert problem == f"`{name}` is not a file name"
        assert "such as coco-train2017.zip" in mend


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "http://images.cocodataset.org/zips/train2017.zip",
            "https://host:8443/a%20b.zip?x=1",
            "http://[::1]:80/a.zip",
            "hf://datasets/owner/name",
            "hf://owner/name.with-dots_1",
            f"hf://datasets/owner/name@{COMMIT}/folder/file.zip",
            "hf://datasets/owner/name/sa_{shard:06d}.tar",
            "gdrive://1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2",
            "links:sa_{shard:06d}.tar",
            "openxlab://OpenDataLab/SA-1B/raw/sa_000000.tar",
        ],
    )
    def test_addresses_of_every_scheme_are_taken(self, url: str) -> None:
        assert accepted(FileUrl, url) == accepted(Url, url) == url

    @pytest.mark.parametrize(
        ("url", "example"),
        [
            ("http://", "http://host/path/file.zip"),
            ("http:///train2017.zip", "http://host/path/file.zip"),
            ("http://[bad/train2017.zip", "http://host/path/file.zip"),
            ("https:train2017.zip", "https://host/path/file.zip"),
            ("hf://name", "hf://datasets/OWNER/NAME@REVISION/path/file.zip"),
            ("hf://datasets/name", "hf://datasets/OWNER/NAME@REVISION/path/file.zip"),
            ("hf://datasets/owner/name/", "hf://datasets/OWNER/NAME@REVISION/path/file.zip"),
            ("hf://datasets/owner/name@", "hf://datasets/OWNER/NAME@REVISION/path/file.zip"),
            ("hf:owner/name", "hf://datasets/OWNER/NAME@REVISION/path/file.zip"),
            ("gdrive://", "gdrive://FILE_ID"),
            ("gdrive://short", "gdrive://FILE_ID"),
            ("gdrive://folders/1tCUQ-sq6vdshZVkF0ZeF3K4eztkXJgax", "gdrive://FILE_ID"),
            ("gdrive:1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2", "gdrive://FILE_ID"),
            ("links:", "links:sa_000000.tar"),
            ("links://sa_000000.tar", "links:sa_000000.tar"),
            ("links:raw/sa_000000.tar", "links:sa_000000.tar"),
            ("openxlab://SA-1B/sa_000000.tar", "openxlab://OWNER/NAME/path/file.tar"),
            ("openxlab://OpenDataLab/SA-1B/", "openxlab://OWNER/NAME/path/file.tar"),
        ],
    )
    def test_an_address_that_is_not_whole_is_refused_with_an_example_of_its_scheme(
        self, url: str, example: str
    ) -> None:
        problem, mend = refusal(Url, url)
        assert problem == f"`{url}` is not a whole {url.partition(':')[0]} address"
        assert mend.startswith(f"write it like {example}")

    @pytest.mark.parametrize("url", ["", "train2017.zip", "ftp://host/a.zip", "s3://bucket/a.zip", "file:///a", "HTTP"])
    def test_an_unknown_scheme_is_refused_with_the_known_ones(self, url: str) -> None:
        problem, mend = refusal(Url, url)
        assert problem == f"`{url}` has no scheme that cvl knows"
        assert mend == "use http(s)://, hf://, gdrive://, links: or openxlab://"


class TestFileUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "https://drive.google.com/drive/folders/1tCUQ-sq6vdshZVkF0ZeF3K4eztkXJgax?usp=sharing",
            "https://drive.google.com/file/d/1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2/view",
        ],
    )
    def test_a_page_of_drive_is_no_file_whether_of_a_folder_or_of_a_file(self, url: str) -> None:
        problem, mend = refusal(FileUrl, url)
        assert problem == f"`{url}` is a page of Google Drive"
        assert mend == "write gdrive://FILE_ID (the id of a file, not of a folder)"
        assert accepted(Url, url) == url, "as a homepage it is fine"

    @pytest.mark.parametrize(
        "url",
        [
            "https://huggingface.co/datasets/owner/name",
            "https://huggingface.co/datasets/owner/name/blob/main/a.zip",
            "https://huggingface.co/datasets/owner/name/raw/main/a.zip",
        ],
    )
    def test_a_page_of_the_hub_is_no_file(self, url: str) -> None:
        problem, mend = refusal(FileUrl, url)
        assert problem == f"`{url}` is a page of the hub"
        assert mend == "write hf://datasets/OWNER/NAME@REVISION/path/file.zip"

    def test_the_hubs_direct_address_is_a_file(self) -> None:
        url = "https://huggingface.co/datasets/owner/name/resolve/main/a.zip"
        assert accepted(FileUrl, url) == url


class TestDigests:
    def test_lower_case_digests_of_the_right_length_are_taken(self) -> None:
        assert accepted(Md5, "0f" * 16) == "0f" * 16
        assert accepted(Sha256, "0f" * 32) == "0f" * 32

    @pytest.mark.parametrize(
        "digest", ["", "0f" * 15, "0f" * 16 + "0", "0f" * 32, "0F" * 16, "0g" * 16, " " + "0f" * 16]
    )
    def test_what_is_no_md5_is_refused_with_its_length(self, digest: str) -> None:
        assert refusal(Md5, digest) == (f"`{digest}` is no md5 digest", "write 32 lower-case hexadecimal digits")

    @pytest.mark.parametrize("digest", ["", "0f" * 16, "0f" * 31, "0f" * 33, "0F" * 32])
    def test_what_is_no_sha256_is_refused_with_its_length(self, digest: str) -> None:
        assert refusal(Sha256, digest) == (f"`{digest}` is no sha256 digest", "write 64 lower-case hexadecimal digits")


class TestShards:
    def test_a_range_is_kept_as_it_was_written(self) -> None:
        assert accepted(ShardText, "0-50") == "0-50"

    @pytest.mark.parametrize(("text", "problem"), [("50-0", "runs backwards"), ("all", "`all` is not a shard number")])
    def test_another_text_is_refused_with_an_example(self, text: str, problem: str) -> None:
        found, mend = refusal(ShardText, text)
        assert problem in found
        assert mend == "write an inclusive range, such as 0-50"

    def test_a_value_may_be_one_or_a_table_by_shard(self) -> None:
        assert accepted(Numbers, 5) == 5
        assert accepted(Numbers, {"0": 5, "12": 6}) == {0: 5, 12: 6}

    @pytest.mark.parametrize(("value", "errors"), [("x", 1), ({"0": "x"}, 1), ({"a": 1}, 1), ({"0": "x", "1": "y"}, 2)])
    def test_only_the_branch_that_was_written_is_complained_about(self, value: object, errors: int) -> None:
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(Numbers).validate_python(value)
        assert caught.value.error_count() == errors


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("hf://lmsys/vicuna-7b-v1.5", HubPlace("lmsys/vicuna-7b-v1.5", "model", None, "")),
        ("hf://owner/name@main/config.json", HubPlace("owner/name", "model", "main", "config.json")),
        ("hf://datasets/owner/name", HubPlace("owner/name", "dataset", None, "")),
        ("hf://datasets/owner/name/a/b.zip", HubPlace("owner/name", "dataset", None, "a/b.zip")),
        (f"hf://datasets/owner/name@{COMMIT}/a.zip", HubPlace("owner/name", "dataset", COMMIT, "a.zip")),
        ("hf://datasets/owner/name/with@sign.zip", HubPlace("owner/name", "dataset", None, "with@sign.zip")),
    ],
)
def test_a_hub_address_comes_apart_into_repository_kind_revision_and_path(url: str, place: HubPlace) -> None:
    assert hub_place(url) == place
