"""docs/manifests.md held against the code: its examples load, and its tables list every key and no other."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from cvl.errors import ManifestError
from cvl.manifest import Catalog, Source, load_catalog
from cvl.manifest import source as source_module
from cvl.manifest import stage as stage_module
from cvl.manifest.fields import Frozen
from cvl.manifest.load import load

DOC = (Path(__file__).parents[2] / "docs/manifests.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
WHOLE = {
    match[1]: text
    for kind, text in BLOCKS
    if kind == "toml" and (match := re.match(r"# ((?:sources|stages|models)/[\w-]+\.toml)\n", text))
}
TABLES = [
    kind
    for module in (source_module, stage_module)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Frozen) and kind.__module__ == module.__name__
]
KEYS = {(kind.__name__, key) for kind in TABLES for key in kind.model_fields}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every example of the document that is a whole manifest."""
    folder = tmp_path_factory.mktemp("my-manifests")
    for name, text in WHOLE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def catalog(own: Path) -> Catalog:
    return load_catalog(own)


def listed_keys(text: str) -> set[str]:
    """The keys in the first columns of the document's tables."""
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*)(?: \*)? \|", text, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


class TestExamples:
    def test_every_example_is_toml_and_says_which_file_it_is(self) -> None:
        toml = [text for kind, text in BLOCKS if kind == "toml"]
        assert len(toml) == len(WHOLE), "two examples have one name, or one has none"
        for text in toml:
            tomllib.loads(text)

    def test_all_of_them_load_together_over_the_shipped_manifests(self, catalog: Catalog) -> None:
        assert {name for name in WHOLE if name.startswith("sources/")} <= {
            f"sources/{name}.toml" for name in catalog.sources
        }
        assert catalog.models["tiny-512"].visual_tokens == 64
        assert catalog.stages[3].scripts.max_length == 4096

    def test_the_first_example_is_data_of_ones_own_in_less_than_ten_lines(self, catalog: Catalog) -> None:
        name, text = next(iter(WHOLE.items()))
        assert name == "sources/mine.toml"
        assert len(text.splitlines()) < 10
        assert "mine" in {annotation.name for annotation in catalog.stage_annotations(3)}

    def test_data_elsewhere_joins_the_stages_that_it_says(self, catalog: Catalog) -> None:
        joined = [{entry.name for entry in catalog.stage_annotations(stage)} for stage in (1, 2, 3)]
        assert ["shared" in names for names in joined] == [True, True, False]
        assert catalog.source("shared").links[0].target == "/mnt/datasets/shared"

    def test_the_records_of_the_json_example_are_those_that_cvl_reads(self) -> None:
        (text,) = (text for kind, text in BLOCKS if kind == "json")
        (record,) = json.loads(text)
        assert set(record) == {"id", "image", "conversations"}
        assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"]

    def test_the_error_that_is_shown_is_the_one_that_comes(self, tmp_path: Path) -> None:
        (shown,) = (text for kind, text in BLOCKS if kind == "text")
        path = tmp_path / "my-manifests/mine.toml"
        path.parent.mkdir()
        path.write_text(WHOLE["sources/mine.toml"].replace("joins", "join"))
        with pytest.raises(ManifestError) as caught:
            load(path, Source)
        message = str(caught.value).replace(str(path), "my-manifests/mine.toml")
        assert shown == f"error: {message}\n\nhint: {caught.value.hint}\n"


class TestKeys:
    @pytest.mark.parametrize(("table", "key"), sorted(KEYS))
    def test_every_key_is_in_the_document(self, table: str, key: str) -> None:
        assert f"`{key}`" in DOC, table

    def test_no_other_key_is(self) -> None:
        assert listed_keys(DOC) <= {key for _, key in KEYS}

    @pytest.mark.parametrize("kind", [kind for kind in TABLES if f"\n### `{kind.__name__.lower()}" in DOC])
    def test_a_section_of_its_own_lists_all_keys_of_a_table(self, kind: type[Frozen]) -> None:
        section = re.search(rf"\n### `{kind.__name__.lower()}s?`\n(.*?)(?=\n##)", DOC, re.DOTALL)
        assert section is not None
        assert listed_keys(section[1]) == set(kind.model_fields)

    @pytest.mark.parametrize("kind", TABLES)
    def test_required_keys_are_marked(self, kind: type[Frozen]) -> None:
        for key, field in kind.model_fields.items():
            if field.is_required() and kind.__name__ not in ("Part", "FifthStage"):
                assert re.search(rf"^\| `{key}` \* \|", DOC, re.MULTILINE), f"{kind.__name__}.{key}"

    def test_defaults_of_the_scripts_and_of_a_run_are_those_of_the_code(self) -> None:
        fields = stage_module.Scripts.model_fields | stage_module.Run.model_fields
        for key, field in fields.items():
            if not field.is_required():
                default = json.dumps(field.default) if key != "adam_epsilon" else "1e-8"
                default = "by default the stage's" if field.default is None else default
                (row,) = re.findall(rf"^\| `{key}` \| (.*) \|$", DOC, re.MULTILINE)
                assert default.removesuffix(".0") in row, key

    def test_links_within_the_document_lead_somewhere(self) -> None:
        anchors = {
            heading.lower().replace("`", "").replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", DOC, re.M)
        }
        assert set(re.findall(r"\]\(#([\w-]+)\)", DOC)) <= anchors
