"""All sources together: the pictures of each, and their publishing."""

from __future__ import annotations

from dataclasses import dataclass

from cvl.demo.miniature.photos import Photo
from cvl.demo.miniature.publish import Publisher
from cvl.demo.miniature.sources import allava, lcs, llava, ocrvqa, plain, sam, sharegpt4v, vflan, webdata
from cvl.demo.miniature.sources.sizes import Sizes
from cvl.demo.miniature.weights import publish_weights

Photos = tuple[Photo, ...]


@dataclass(frozen=True)
class Pictures:
    """Every picture of every source: SAM by shard, ALLaVA by chunk, WebData by set."""

    coco: Photos
    gqa: Photos
    textvqa: Photos
    vg_part1: Photos
    vg_part2: Photos
    sam: tuple[Photos, ...]
    lcs: Photos
    allava: tuple[Photos, ...]
    vflan: Photos
    web: dict[str, Photos]
    covers: tuple[ocrvqa.Cover, ...]


def pictures(sizes: Sizes) -> Pictures:
    """The names and scenes of all pictures; nothing is drawn yet."""
    vg_part1, vg_part2 = plain.vg_photos(sizes.vg_part1, sizes.vg_part2)
    return Pictures(
        coco=plain.coco_photos(sizes.coco),
        gqa=plain.gqa_photos(sizes.gqa),
        textvqa=plain.textvqa_photos(sizes.textvqa),
        vg_part1=vg_part1,
        vg_part2=vg_part2,
        sam=sam.sam_photos(sizes.sam),
        lcs=lcs.lcs_photos(sizes.lcs),
        allava=allava.allava_photos(sizes.allava),
        vflan=vflan.vflan_photos(sizes.vflan),
        web={what.name: webdata.web_photos(what, sizes.webdata) for what in webdata.WEB_SETS},
        covers=ocrvqa.covers(sizes.ocrvqa),
    )


def publish_sources(site: Publisher, sizes: Sizes, encoder: bytes | None = None) -> None:
    """Publishes every source, and the start weights; `encoder` is the file of a trained one's."""
    every = pictures(sizes)
    _publish_images(site, every)
    _publish_instructions(site, every, sizes.instruct)
    publish_weights(site, encoder)


def _publish_images(site: Publisher, every: Pictures) -> None:
    plain.publish_coco(site, every.coco)
    plain.publish_gqa(site, every.gqa)
    plain.publish_textvqa(site, every.textvqa)
    plain.publish_vg(site, every.vg_part1, every.vg_part2)
    ocrvqa.publish_ocrvqa(site, every.covers)
    sam.publish_sam(site, every.sam)
    webdata.publish_webdata(site, every.web)


def _publish_instructions(site: Publisher, every: Pictures, count: int) -> None:
    """The sources that bring instruction files, some with pictures of their own."""
    lcs.publish_lcs(site, every.lcs)
    vflan.publish_vflan(site, every.vflan)
    allava.publish_allava(site, every.allava, every.vflan)
    sharegpt4v.publish_sharegpt4v(site, sharegpt4v.Captioned(every.sam, every.lcs, every.coco, every.web))
    instructed = llava.Instructed(
        coco=every.coco,
        vg=every.vg_part1 + every.vg_part2,
        ocr_vqa=tuple(cover.photo for cover in ocrvqa.alive(every.covers)),
        gqa=every.gqa,
        textvqa=every.textvqa,
    )
    llava.publish_llava(site, instructed, count)
