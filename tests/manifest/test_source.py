from __future__ import annotations

from pathlib import Path

import pytest

from cvl.errors import EXIT_USAGE, ManifestError
from cvl.manifest import Source
from cvl.manifest.load import load

FILE = 'title = "T"\n[[files]]\nname = "mine.zip"\nurl = "http://host/mine.zip"\n'
"""A file that does not say yet where it lands."""
ARCHIVE = FILE + 'unpack = { into = "data/mine" }\n'
SHARDED = """
title = "T"
[[files]]
name = "mine-{shard:03d}.zip"
url = "http://host/{shard}.zip"
shards = "0-2"
unpack = { into = "data/mine" }
"""
MD5, SHA256 = "0f" * 16, "0f" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def read(path: Path, text: str) -> Source:
    path.write_text(text, encoding="utf-8")
    return load(path, Source)


def refused(path: Path, text: str) -> ManifestError:
    """The error of a manifest that is wrong; what every such error must have is held here."""
    with pytest.raises(ManifestError) as caught:
        read(path, text)
    error = caught.value
    assert error.exit_code == EXIT_USAGE
    assert error.file == path
    assert str(error).startswith(f"{path}: {error.key}: ")
    assert error.hint == error.mend != ""
    return error


class TestWhatIsRead:
    def test_a_title_is_enough(self, path: Path) -> None:
        assert read(path, 'title = "T"') == Source(title="T")

    def test_every_table_comes_out_as_a_value(self, path: Path) -> None:
        source = read(
            path,
            f"""
            title = "T"
            licence = "CC0"
            homepage = "https://host/"
            asks = "patience"
            gate = {{ page = "https://host/terms", ask = "accept them" }}
            convert = {{ folder = "data/mine/images" }}
            [[files]]
            name = "list.json"
            url = "gdrive://0123456789"
            sha256 = "{SHA256}"
            certainty = "single-source"
            mirrors = [{{ url = "https://host/list.json", name = "m", opt_in = true, note = "n" }}]
            path = "data/mine/list.json"
            expand = {{ into = "data/mine/images", url_field = "imageURL", count = 3, approximate_size = 9 }}
            [[alternatives]]
            name = "zip"
            title = "packed"
            files = [{{ name = "z.zip", url = "links:z.zip", unpack = {{ into = "data/mine", strip = 1 }} }}]
            [[expect]]
            folder = "data/mine/images"
            suffix = ".jpg"
            files = 3
            [[annotations]]
            name = "mine"
            path = "data/mine/mine.json"
            images = "data/mine/images"
            needs = ["mine"]
            records = 3
            joins = [2, 3]
            [[links]]
            path = "data/mine/other"
            target = "/mnt/other"
            """,
        )
        (file,), (alternative,), (annotation,) = source.files, source.alternatives, source.annotations
        assert (file.sha256, file.certainty, file.mirrors[0].opt_in) == (SHA256, "single-source", True)
        assert file.expand is not None
        assert file.expand.count == 3
        assert [entry.name for entry in source.all_files] == ["list.json", "z.zip"]
        assert alternative.files[0].unpack is not None
        assert alternative.files[0].unpack.strip == 1
        assert (annotation.image_root, annotation.needs, annotation.joins) == ("data/mine/images", ("mine",), (2, 3))
        assert (source.links[0].target, source.convert is not None, source.gate is not None) == (
            "/mnt/other",
            True,
            True,
        )

    def test_an_archive_is_unpacked_whole_unless_told_otherwise(self, path: Path) -> None:
        unpack = read(path, ARCHIVE).files[0].unpack
        assert unpack is not None
        assert (unpack.include, unpack.exclude, unpack.strip, unpack.flatten) == (("*",), (), 0, False)

    def test_pictures_are_relative_to_data_unless_told_otherwise(self, path: Path) -> None:
        text = 'title = "T"\n[[annotations]]\nname = "mine"\npath = "data/mine.json"'
        assert read(path, text).annotations[0].image_root == "data"

    def test_a_file_without_a_range_has_no_shards(self, path: Path) -> None:
        assert read(path, ARCHIVE).files[0].shard_numbers == ()

    def test_tables_of_sharded_files_go_by_number_and_need_not_be_full(self, path: Path) -> None:
        file = read(path, SHARDED + f'[files.size]\n1 = 10\n[files.md5]\n0 = "{MD5}"').files[0]
        assert (file.shard_numbers, file.size, file.md5) == ((0, 1, 2), {1: 10}, {0: MD5})

    def test_values_cannot_change_after_loading(self, path: Path) -> None:
        source = read(path, ARCHIVE)
        with pytest.raises(ValueError, match="frozen"):
            source.title = "other"


class TestUnknownAndMissingKeys:
    @pytest.mark.parametrize(
        ("text", "key", "nearest"),
        [
            ('titel = "T"', "titel", "title"),
            ('title = "T"\nlicense = "CC0"', "license", "licence"),
            ('title = "T"\n[[file]]', "file", "files"),
            (ARCHIVE + "sha265 = 1", "files[0].sha265", "sha256"),
            (FILE + 'unpack = { inot = "data/mine" }', "files[0].unpack.inot", "into"),
            (ARCHIVE + 'mirrors = [{ ulr = "http://h/" }]', "files[0].mirrors[0].ulr", "url"),
            ('title = "T"\n[gate]\npages = "http://h/"', "gate.pages", "page"),
            ('title = "T"\n[[alternatives]]\nnam = "x"', "alternatives[0].nam", "name"),
            (
                'title = "T"\n[[alternatives]]\n[[alternatives.files]]\npaht = ""',
                "alternatives[0].files[0].paht",
                "path",
            ),
            ('title = "T"\n[[expect]]\n[[expect]]\nfodler = ""', "expect[1].fodler", "folder"),
            ('title = "T"\n[[annotations]]\njoin = [3]', "annotations[0].join", "joins"),
        ],
    )
    def test_a_misspelt_key_is_named_with_the_nearest_one(self, path: Path, text: str, key: str, nearest: str) -> None:
        error = refused(path, text)
        assert (error.key, error.mend) == (key, f"did you mean `{nearest}`?")
        assert "is not a key that cvl knows" in str(error)

    def test_a_key_that_is_like_no_other_is_answered_with_all_that_are_known_there(self, path: Path) -> None:
        error = refused(path, 'title = "T"\n[[links]]\nqqq = 1')
        assert (error.key, error.mend) == ("links[0].qqq", "remove it; known here: path, target")

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("", "title"),
            ('title = "T"\n[[files]]\nurl = "http://h/a"\npath = "data/a"', "files[0].name"),
            ('title = "T"\n[[files]]\nname = "a"\npath = "data/a"', "files[0].url"),
            (FILE + "unpack = {}", "files[0].unpack.into"),
            (FILE + 'path = "data/a"\nexpand = { into = "data/b" }', "files[0].expand.url_field"),
            ('title = "T"\ngate = { page = "http://h/" }', "gate.ask"),
            ('title = "T"\n[[expect]]', "expect[0].folder"),
            ('title = "T"\n[[annotations]]\npath = "data/a.json"', "annotations[0].name"),
            ('title = "T"\n[[links]]\npath = "data/a"', "links[0].target"),
        ],
    )
    def test_a_missing_key_is_named_in_full(self, path: Path, text: str, key: str) -> None:
        error = refused(path, text)
        assert (error.key, error.mend) == (key, f"add `{key.rpartition('.')[2]}`")
        assert str(error).endswith("is missing")


class TestWrongTypes:
    @pytest.mark.parametrize(
        ("text", "key", "found"),
        [
            ("title = 3", "title", "3"),
            ("title = 2024-03-01", "title", "datetime.date(2024, 3, 1)"),
            (ARCHIVE + 'size = "big"', "files[0].size", "'big'"),
            (ARCHIVE + "size = -1", "files[0].size", "-1"),
            (ARCHIVE + "md5 = 5", "files[0].md5", "5"),
            (ARCHIVE + 'certainty = "sure"', "files[0].certainty", "'sure'"),
            (FILE + 'unpack = "data/mine"', "files[0].unpack", "'data/mine'"),
            (FILE + 'unpack = { into = "data/mine", strip = -1 }', "files[0].unpack.strip", "-1"),
            (FILE + 'unpack = { into = "data/mine", flatten = "maybe" }', "files[0].unpack.flatten", "'maybe'"),
            (FILE + 'unpack = { into = "data/mine", members = 0 }', "files[0].unpack.members", "0"),
            (SHARDED + '[files.size]\n0 = "big"', "files[0].size.0", "'big'"),
            (SHARDED + "[files.size]\nfirst = 1", "files[0].size.first", "'first'"),
            ('title = "T"\n[[expect]]\nfolder = "data/a"\nfiles = "many"', "expect[0].files", "'many'"),
        ],
    )
    def test_a_value_of_the_wrong_kind_is_shown(self, path: Path, text: str, key: str, found: str) -> None:
        error = refused(path, text)
        assert error.key == key
        assert str(error).endswith(f", found {found}")
        assert "docs/manifests.md" in error.mend

    def test_a_long_value_is_not_shown_in_full(self, path: Path) -> None:
        assert len(str(refused(path, f"title = {list(range(1000))}"))) < len(str(path)) + 200

    def test_a_single_table_in_place_of_a_list_is_answered_with_double_brackets(self, path: Path) -> None:
        error = refused(path, ARCHIVE.replace("[[files]]", "[files]"))
        assert (error.key, error.mend) == ("files", "write [[files]]")

    def test_double_brackets_are_proposed_for_nested_lists_too(self, path: Path) -> None:
        text = 'title = "T"\n[[alternatives]]\nname = "x"\ntitle = "X"\n[alternatives.files]\nname = "y"'
        error = refused(path, text)
        assert (error.key, error.mend) == ("alternatives[0].files", "write [[alternatives.files]]")

    def test_a_single_value_in_place_of_a_list_is_answered_with_brackets(self, path: Path) -> None:
        error = refused(path, 'title = "T"\n[[annotations]]\nname = "a"\npath = "data/a"\nneeds = "coco"')
        assert (error.key, error.mend) == ("annotations[0].needs", "put it in brackets: [ … ]")


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "mine.zip",
            "ftp://host/mine.zip",
            "http:///mine.zip",
            "hf://datasets/name",
            "gdrive://folders/1tCUQ-sq6vdshZVkF0ZeF3K4eztkXJgax",
            "https://drive.google.com/drive/folders/1tCUQ-sq6vdshZVkF0ZeF3K4eztkXJgax",
            "https://huggingface.co/datasets/owner/name/blob/main/mine.zip",
            "links:a/b",
            "openxlab://x",
        ],
    )
    @pytest.mark.parametrize("place", ["files[0].url", "files[0].mirrors[0].url"])
    def test_a_bad_address_is_refused_wherever_it_stands(self, path: Path, url: str, place: str) -> None:
        text = ARCHIVE + f'mirrors = [{{ url = "{url}" }}]' if "mirrors" in place else ARCHIVE
        error = refused(path, text if "mirrors" in place else text.replace("http://host/mine.zip", url))
        assert error.key == place
        assert f"`{url}`" in str(error)

    @pytest.mark.parametrize(("key", "text"), [("homepage", 'homepage = "x"'), ("gate.page", '[gate]\npage = "x"')])
    def test_pages_are_addresses_too(self, path: Path, key: str, text: str) -> None:
        assert refused(path, f'title = "T"\n{text}').key == key

    def test_a_folder_of_drive_may_be_the_homepage(self, path: Path) -> None:
        url = "https://drive.google.com/drive/folders/1tCUQ-sq6vdshZVkF0ZeF3K4eztkXJgax"
        assert read(path, f'title = "T"\nhomepage = "{url}"').homepage == url

    def test_signed_links_need_a_gate_that_says_where_they_come_from(self, path: Path) -> None:
        text = ARCHIVE.replace("http://host/mine.zip", "links:mine.zip")
        error = refused(path, text)
        assert "where its signed links come from" in str(error)
        assert error.mend == "add a [gate] with `page` and `ask`"
        assert read(path, text + '[gate]\npage = "https://host/"\nask = "accept"').gate is not None

    def test_an_opt_in_mirror_needs_the_name_that_it_is_chosen_by(self, path: Path) -> None:
        error = refused(path, ARCHIVE + 'mirrors = [{ url = "http://h/", opt_in = true }]')
        assert error.key == "files[0].mirrors[0]"
        assert error.mend == 'give it one, such as name = "backup"'


class TestPaths:
    @pytest.mark.parametrize("place", ["/data/mine", "data/../x", "data\\mine", "images/mine", "data/.cvl/x"])
    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("files[0].path", FILE + 'path = "@"'),
            ("files[0].unpack.into", FILE + 'unpack = { into = "@" }'),
            ("files[0].snapshot.into", FILE + 'snapshot = { into = "@" }'),
            ("files[0].expand.into", FILE + 'path = "data/a"\nexpand = { into = "@", url_field = "u" }'),
            ("expect[0].folder", 'title = "T"\n[[expect]]\nfolder = "@"'),
            ("annotations[0].path", 'title = "T"\n[[annotations]]\nname = "a"\npath = "@"'),
            ("annotations[0].images", 'title = "T"\n[[annotations]]\nname = "a"\npath = "data/a"\nimages = "@"'),
            ("links[0].path", 'title = "T"\n[[links]]\npath = "@"\ntarget = "/mnt/x"'),
            ("convert.folder", 'title = "T"\nconvert = { folder = "@" }'),
        ],
    )
    def test_no_path_leaves_data_and_models(self, path: Path, key: str, text: str, place: str) -> None:
        error = refused(path, text.replace("@", place.replace("\\", "\\\\")))
        assert error.key == key
        assert f"`{place}` " in str(error)
        assert "below" in error.mend

    def test_a_link_may_point_elsewhere_but_not_up_from_the_tree(self, path: Path) -> None:
        link = 'title = "T"\n[[links]]\npath = "data/mine"\ntarget = "{}"'
        assert read(path, link.format("/mnt/mine")).links[0].target == "/mnt/mine"
        assert refused(path, link.format("../mine")).key == "links[0].target"

    @pytest.mark.parametrize("name", ["a/b.zip", "../b.zip", ".zip", ""])
    def test_a_cache_name_is_only_a_name(self, path: Path, name: str) -> None:
        assert refused(path, ARCHIVE.replace("mine.zip", name, 1)).key == "files[0].name"


class TestWhereAFileLands:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            'path = "data/mine.zip"\nunpack = { into = "data/mine" }',
            'path = "data/mine.zip"\nsnapshot = { into = "data/mine" }',
            'unpack = { into = "data/mine" }\nsnapshot = { into = "data/mine" }',
        ],
    )
    def test_a_file_lands_once(self, path: Path, text: str) -> None:
        error = refused(path, FILE + text)
        assert error.key == "files[0]"
        assert "it must say once where it lands" in str(error)
        assert error.mend == "give one of `path`, `unpack` and `snapshot`"

    def test_a_list_must_land_before_it_can_be_followed(self, path: Path) -> None:
        error = refused(path, ARCHIVE + 'expand = { into = "data/mine", url_field = "u" }')
        assert (error.key, error.mend) == ("files[0]", "give the list a `path`")

    def test_only_the_hub_has_snapshots(self, path: Path) -> None:
        error = refused(path, FILE + 'snapshot = { into = "models/mine" }')
        assert "only hub repositories have snapshots" in str(error)

    @pytest.mark.parametrize("url", ["hf://datasets/owner/name", "hf://owner/name@main"])
    def test_a_whole_repository_is_no_archive(self, path: Path, url: str) -> None:
        error = refused(path, ARCHIVE.replace("http://host/mine.zip", url))
        assert "`owner/name` is a whole repository" in str(error)
        assert error.mend == "add the file's path, or land it as a `snapshot`"

    def test_one_file_is_no_snapshot(self, path: Path) -> None:
        text = FILE.replace("http://host/mine.zip", "hf://owner/name/a.bin") + 'snapshot = { into = "models/mine" }'
        error = refused(path, text)
        assert "`a.bin` is one file of a repository" in str(error)
        assert error.mend == "end the address after the repository"


class TestShardedFiles:
    @pytest.mark.parametrize("shards", ["2-0", "a-b", "", "0-", "0;1"])
    def test_a_range_that_makes_no_sense_is_refused(self, path: Path, shards: str) -> None:
        error = refused(path, SHARDED.replace("0-2", shards))
        assert (error.key, error.mend) == ("files[0].shards", "write an inclusive range, such as 0-50")

    @pytest.mark.parametrize("key", ["size", "md5", "sha256"])
    def test_a_table_entry_for_a_shard_outside_of_the_range_is_refused(self, path: Path, key: str) -> None:
        value = {"size": 1, "md5": f'"{MD5}"', "sha256": f'"{SHA256}"'}[key]
        error = refused(path, SHARDED + f"[files.{key}]\n0 = {value}\n3 = {value}")
        assert error.key == "files[0]"
        assert f"`{key}` names shard 3, which is not in 0-2" in str(error)

    @pytest.mark.parametrize("key", ["size", "md5", "sha256"])
    def test_one_value_for_many_shards_is_refused(self, path: Path, key: str) -> None:
        value = {"size": 1, "md5": f'"{MD5}"', "sha256": f'"{SHA256}"'}[key]
        error = refused(path, SHARDED + f"{key} = {value}")
        assert f"`{key}` is one value for many shards" in str(error)
        assert f"[files.{key}]" in error.mend

    def test_a_table_for_a_file_without_shards_is_refused(self, path: Path) -> None:
        error = refused(path, ARCHIVE + "[files.size]\n0 = 1")
        assert "it speaks of shards but has no range" in str(error)
        assert error.mend == 'add shards = "0-50"'

    @pytest.mark.parametrize(
        "text",
        [
            ARCHIVE.replace('"mine.zip"', '"mine-{shard}.zip"'),
            ARCHIVE.replace("host/mine", "host/{shard:02d}"),
            ARCHIVE + 'mirrors = [{ url = "http://other/{shard}.zip" }]',
        ],
    )
    def test_a_shards_place_in_a_file_without_shards_is_refused(self, path: Path, text: str) -> None:
        assert "it speaks of shards but has no range" in str(refused(path, text))

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            ("name", SHARDED.replace("mine-{shard:03d}", "mine")),
            ("name", SHARDED.replace("mine-{shard:03d}", "mine-{{shard}}")),
            ("url", SHARDED.replace("/{shard}.zip", "/all.zip")),
            ("url", SHARDED + 'mirrors = [{ url = "http://other/all.zip" }]'),
        ],
    )
    def test_shards_that_would_share_a_name_or_an_address_are_refused(self, path: Path, field: str, text: str) -> None:
        error = refused(path, text)
        assert f"every shard would have the same {field}" in str(error)
        assert error.mend == f"put {{shard}} or {{shard:06d}} into `{field}`"

    @pytest.mark.parametrize("braces", ["{part}", "{}", "{0}", "{shard", "{shard:x.y}", "{shard.x}", "{shard[0]}"])
    def test_braces_that_are_no_shard_number_are_refused(self, path: Path, braces: str) -> None:
        error = refused(path, SHARDED.replace("/{shard}.zip", f"/{braces}.zip"))
        assert f"`http://host/{braces}.zip` has braces that are not a shard number" in str(error)
        assert error.mend == "use {shard} or {shard:06d} only"

    def test_shards_that_would_land_in_one_place_are_refused(self, path: Path) -> None:
        error = refused(path, SHARDED.replace('unpack = { into = "data/mine" }', 'path = "data/mine.zip"'))
        assert "every shard would land in the same place" in str(error)
        assert "give it `unpack`" in error.mend


class TestNames:
    @pytest.mark.parametrize("name", ["../../precious", "a/b", "", ".hidden", "two words"])
    def test_an_instruction_files_name_is_a_file_name_too(self, path: Path, name: str) -> None:
        """Its index lies in a folder of that name: a name that climbs out would reach the user's own files."""
        error = refused(path, f'title = "T"\n[[annotations]]\nname = "{name}"\npath = "data/mine/a.json"\n')
        assert error.key == "annotations[0].name"
        assert "letters, digits" in error.mend

    def test_an_archive_of_which_nothing_is_wanted_is_refused(self, path: Path) -> None:
        error = refused(path, FILE + 'unpack = { into = "data/mine", include = [] }\n')
        assert error.key == "files[0].unpack.include"
