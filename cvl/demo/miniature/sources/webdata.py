"""WebData: four small zips on Google Drive, with the path of the whole tree inside."""

from __future__ import annotations

from dataclasses import dataclass

from cvl.demo.miniature.packing import Member, ZipStyle
from cvl.demo.miniature.photos import Photo, packed, photos
from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.scenes import SceneMaker, shapes_scene, sign_scene, training_scenes


@dataclass(frozen=True)
class WebSet:
    """One of the four: its folder's name, its id on Drive, what its files are called, and what they show."""

    name: str
    drive_id: str
    stems: tuple[str, ...]
    make: SceneMaker = shapes_scene

    @property
    def folder(self) -> str:
        """The folder of its pictures below `data/`."""
        return f"{self.name}/images"

    @property
    def url(self) -> str:
        """Where manifests say that its zip is."""
        return f"gdrive://{self.drive_id}"


SHARE_TEXTVQA = WebSet("share_textvqa", "1f4v_3e1OJtyYqam1CEp6RenCNTU5_mG2", ("text",), sign_scene)
CELEBRITY = WebSet("web-celebrity", "1-SB71C3j1mVg0kDDXwj2IWGEoBoRUD-J", ("Ann_Example", "Ben_Sample"))
LANDMARK = WebSet("web-landmark", "1JpJkN7ZMA50xAhMx9O-rVb5yLhfGm3_o", ("Tower", "Bridge", "Gate"))
WIKIART = WebSet("wikiart", "1FxB2Nw-vWUcTUSI_dBpPIykb-uGYoEqV", ("still-life", "composition"))
MIRROR = "hf://datasets/Jserw/WebData"
WEB_SETS = (SHARE_TEXTVQA, CELEBRITY, LANDMARK, WIKIART)

ALIASES = {"Choi_Min-sik.jpg": "Choi_Min_sik.jpg", "Lee_Byung-hun.jpg": "Lee_Byung_hun.jpg"}
"""Two pictures which ShareGPT4V's instruction file names otherwise than the zip of celebrities."""


def web_photos(what: WebSet, count: int) -> tuple[Photo, ...]:
    """The pictures of one set; the last two of the celebrities are those with a second name."""
    names = [f"{what.stems[index % len(what.stems)]}_{index}.jpg" for index in range(count)]
    if what is CELEBRITY:
        names[-len(ALIASES) :] = ALIASES.values()
    return photos(what.folder, names, training_scenes(what.name, count, what.make))


def named_by_instructions(photo: Photo) -> Photo:
    """The picture under the name that ShareGPT4V's instruction file has for it."""
    wrong = {real: named for named, real in ALIASES.items()}
    return photo.renamed(wrong.get(photo.name, photo.name))


def publish_webdata(site: Publisher, sets: dict[str, tuple[Photo, ...]]) -> None:
    """The four zips; one of them is deflated, and one carries what a Mac leaves in a zip."""
    for what in WEB_SETS:
        pictures, root = sets[what.name], f"data/{what.folder}/"
        members = [Member("data/"), Member(f"data/{what.name}/"), Member(root), *packed(pictures, root)]
        if what is LANDMARK:
            members += [
                Member(f"__MACOSX/{root}._{pictures[0].name}", b"\0\5\26\7"),
                Member(f"data/{what.name}/.DS_Store", b"\0\0\0\1"),
            ]
        site.zip(what.url, members, ZipStyle(deflated=what is WIKIART), name=f"{what.name}.zip")
        site.mirror(what.url, f"{MIRROR}/{what.name}.zip")
        site.folder_of(pictures)
    for named, real in ALIASES.items():
        site.alias(f"data/{CELEBRITY.folder}/{named}", f"data/{CELEBRITY.folder}/{real}")
