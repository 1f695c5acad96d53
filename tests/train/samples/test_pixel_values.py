"""A picture file's pixel values: those of the published pipeline, and what is done where that one fails."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import GREY, MEAN, STD, clip, clouds, encoded, levels_of, noise, step_by_step
from numpy.typing import NDArray
from PIL import Image

from cvl import images
from cvl.errors import CheckpointError, ImageError
from cvl.train.samples.pictures import SPARE, Preprocessing, _table, open_picture, pixel_values

GOLDEN = Path(__file__).parent.parent.parent / "data" / "golden"
EXPECTED = np.load(GOLDEN / "images" / "pixel_values_pad_64.npz")


def values(source: Path | bytes, resolution: int = 64, *, fast_decode: bool = False) -> NDArray[np.float32]:
    how = clip(resolution, fast_decode=fast_decode)
    return pixel_values(open_picture(source, how), how)


def clip_processor(resolution: int) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = {"height": resolution, "width": resolution}
    return CLIPImageProcessorPil(size={"shortest_edge": resolution}, crop_size=side)


class TestPublished:
    @pytest.mark.parametrize("name", sorted(EXPECTED))
    def test_golden_pictures_come_out_bit_equal(self, name: str) -> None:
        result = values(GOLDEN / "images" / name)
        assert result.dtype == np.float32
        assert result.shape == (3, 64, 64)
        assert result.tobytes() == EXPECTED[name].tobytes()

    @pytest.mark.parametrize("resolution", [64, 256, 768])
    @pytest.mark.parametrize("size", [(90, 61), (61, 90), (300, 200), (40, 40), (1, 50), (500, 375)])
    def test_noise_comes_out_as_from_transformers_and_as_step_by_step(
        self, size: tuple[int, int], resolution: int
    ) -> None:
        picture = noise(*size)
        square = Image.new("RGB", (max(size), max(size)), GREY)
        square.paste(picture, ((max(size) - size[0]) // 2, (max(size) - size[1]) // 2))
        processed = clip_processor(resolution).preprocess(square, return_tensors="np")["pixel_values"][0]
        result = pixel_values(picture, clip(resolution))
        assert result.tobytes() == np.ascontiguousarray(processed).tobytes()
        assert result.tobytes() == step_by_step(picture, resolution).tobytes()

    def test_all_levels_of_all_channels_are_in_the_table_as_transformers_computes_them(self) -> None:
        levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
        picture = Image.fromarray(np.stack([levels] * 3, axis=-1))
        processed = clip_processor(16).preprocess(picture, return_tensors="np")["pixel_values"][0]
        assert _table(MEAN, STD).tobytes() == np.ascontiguousarray(processed.reshape(3, 256)).tobytes()

    def test_the_bars_have_the_mean_colour_rounded_down(self) -> None:
        assert clip(64).colour == GREY
        result = levels_of(pixel_values(Image.new("RGB", (20, 10)), clip(64)))
        assert np.allclose(result[:, 0, 0], GREY, atol=1e-4)
        assert np.allclose(result[:, 32, 32], 0, atol=1e-4)

    @pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3), (3, 2)])
    def test_pictures_of_one_or_three_pixels_keep_their_channels(self, size: tuple[int, int]) -> None:
        """The published code takes the rows of such a picture for its channels, or fails."""
        picture = Image.new("RGB", size, (255, 0, 0))
        assert pixel_values(picture, clip(64)).tobytes() == step_by_step(picture, 64).tobytes()


class TestKinds:
    def test_hidden_colours_show_when_transparency_is_dropped(self) -> None:
        picture = noise(20, 30)
        picture.putalpha(0)
        assert values(encoded(picture, "PNG")).tobytes() == step_by_step(noise(20, 30), 64).tobytes()

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr"])
    def test_other_modes_become_rgb_as_pillow_does_it(self, mode: str) -> None:
        kind = {"PA": "TIFF", "CMYK": "JPEG", "YCbCr": "TIFF"}.get(mode, "PNG")
        source = noise(31, 22).convert("P" if mode == "PA" else mode)
        data = encoded(source.convert(mode), kind)
        with Image.open(io.BytesIO(data)) as picture:
            expected = picture.convert("RGB")
        assert open_picture(data).tobytes() == expected.tobytes()

    def test_a_palette_with_degrees_of_transparency_is_read_without_a_warning(self) -> None:
        data = encoded(noise(20, 20).quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            picture = open_picture(data)
        assert picture.mode == "RGB"

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_grey_of_sixteen_bits_keeps_its_higher_bits(self, kind: str) -> None:
        """The published code makes everything above 255 of 65535 white."""
        grey = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40)
        result = np.asarray(open_picture(encoded(Image.fromarray(grey), kind)))
        assert (result == (grey >> 8)[..., None]).all()

    def test_rgb_of_sixteen_bits_keeps_its_higher_bits(self) -> None:
        data = sixteen_bit_png(colour := np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16))
        assert (np.asarray(open_picture(data)) == colour >> 8).all()

    @pytest.mark.parametrize(
        ("levels", "expected"),
        [
            (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
            (np.array([[0, 256, 65535]], np.int32), [0, 1, 255]),
            (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
            (np.array([[0, 7.9, 255]], np.float32), [0, 7, 255]),
            (np.array([[0, 256, 65535]], np.float32), [0, 1, 255]),
        ],
    )
    def test_wider_grey_is_scaled_by_the_range_that_it_is_in(self, levels: NDArray[Any], expected: list[int]) -> None:
        result = np.asarray(open_picture(encoded(Image.fromarray(levels), "TIFF")))
        assert result[0, :, 0].tolist() == expected

    @pytest.mark.parametrize("level", [-1, 65536, float("nan")])
    def test_grey_levels_without_a_meaning_are_refused(self, level: float, tmp_path: Path) -> None:
        path = tmp_path / "heights.tiff"
        path.write_bytes(encoded(Image.fromarray(np.full((4, 4), level, np.float32)), "TIFF"))
        with pytest.raises(ImageError, match=r"heights\.tiff: F picture that cannot become RGB: grey levels from"):
            open_picture(path)

    def test_rotation_that_exif_asks_for_is_not_applied(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture = noise(40, 20)
        assert values(encoded(picture, "PNG", exif=exif)).tobytes() == step_by_step(picture, 64).tobytes()

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_of_an_animation_the_first_frame_is_taken(self, kind: str) -> None:
        red, *others = (Image.new("RGB", (16, 16), colour) for colour in ("#ff0000", "#00ff00", "#0000ff"))
        data = encoded(red, kind, save_all=True, append_images=others, **({"lossless": True} if kind == "WEBP" else {}))
        assert open_picture(data).getcolors() == [(256, (255, 0, 0))]


def sixteen_bit_png(colour: NDArray[np.uint16]) -> bytes:
    """A PNG of RGB with 16 bits, which Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = colour.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class TestDamage:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "empty file"),
            (b"<!DOCTYPE html><html>404", "not a picture"),
            (encoded(noise(64, 64), "JPEG")[:-500], "damaged JPEG"),
            (encoded(noise(64, 64), "PNG")[:-500], "damaged PNG"),
        ],
    )
    @pytest.mark.parametrize("fast_decode", [False, True])
    def test_what_cannot_be_read_is_an_error_that_names_the_file(
        self, data: bytes, reason: str, fast_decode: bool, tmp_path: Path
    ) -> None:
        path = tmp_path / "000000001.jpg"
        path.write_bytes(data)
        with pytest.raises(ImageError, match=rf"000000001\.jpg: {reason}"):
            open_picture(path, clip(16, fast_decode=fast_decode))

    def test_a_missing_file_is_an_error_too(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="No such file"):
            open_picture(tmp_path / "missing.jpg")

    def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images, "MAX_PIXELS", 100)
        with pytest.raises(ImageError, match="11 × 10 pixels, at most 100"):
            open_picture(encoded(noise(11, 10), "PNG"))


class TestFastDecode:
    def test_a_jpeg_that_is_much_too_large_is_read_smaller_and_nearly_the_same(self) -> None:
        data = encoded(clouds(400, 600), "JPEG", quality=90)
        assert open_picture(data, clip(192, fast_decode=True)).size == (200, 300)
        apart = np.abs(levels_of(values(data, 192, fast_decode=True)) - levels_of(values(data, 192)))
        assert 0 < apart.mean() < 1
        assert np.allclose(apart[:, :, 0], 0, atol=1e-4)

    @pytest.mark.parametrize(
        ("long", "read"), [(255, 255), (256, 128), (511, 256), (512, 128), (1024, 128), (2048, 256)]
    )
    def test_the_longer_side_keeps_four_thirds_of_the_resolution(self, long: int, read: int) -> None:
        resolution = 96
        picture = open_picture(encoded(clouds(long, long // 2), "JPEG"), clip(resolution, fast_decode=True))
        assert picture.width == read
        assert picture.width == long or picture.width >= SPARE * resolution

    @pytest.mark.parametrize("size", [(900, 1), (1, 900), (901, 7), (899, 899)])
    def test_odd_shapes_are_read_too(self, size: tuple[int, int]) -> None:
        data = encoded(Image.new("RGB", size, GREY), "JPEG", quality=100)
        assert np.abs(levels_of(values(data, fast_decode=True)) - np.array(GREY)[:, None, None]).max() < 3

    def test_other_kinds_and_small_jpegs_stay_bit_equal(self) -> None:
        for data in (encoded(clouds(400, 300), "PNG"), encoded(clouds(80, 60), "JPEG")):
            assert values(data, fast_decode=True).tobytes() == values(data).tobytes()

    def test_it_is_off_unless_asked_for(self) -> None:
        data = encoded(clouds(400, 600), "JPEG")
        assert open_picture(data).size == open_picture(data, clip(64)).size == (400, 600)


class TestFolder:
    GOOD: dict[str, Any] = json.loads((GOLDEN / "model/golden_ckpt/vision_tower/preprocessor_config.json").read_bytes())

    def write(self, folder: Path, **changes: object) -> Path:
        (folder / "preprocessor_config.json").write_text(json.dumps(self.GOOD | changes))
        return folder

    def test_a_published_checkpoint_s_settings_are_read(self) -> None:
        found = Preprocessing.from_folder(GOLDEN / "model/golden_ckpt/vision_tower")
        assert found == Preprocessing(256, MEAN, STD, fast_decode=False)

    def test_an_old_file_s_bare_numbers_are_sizes(self, tmp_path: Path) -> None:
        assert Preprocessing.from_folder(self.write(tmp_path, size=320, crop_size=320)).resolution == 320

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"has no preprocessor_config\.json"):
            Preprocessing.from_folder(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
    def test_a_damaged_file_is_named(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "preprocessor_config.json").write_text(text, errors="surrogateescape")
        with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
            Preprocessing.from_folder(tmp_path)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("size", {"height": 256, "width": 256}),
            ("size", None),
            ("size", {"shortest_edge": 0}),
            ("size", {"shortest_edge": 225}),
            ("crop_size", {"height": 224, "width": 224}),
            ("crop_size", None),
            ("image_mean", [0.5, 0.5]),
            ("image_mean", None),
            ("image_std", [0.5, 0.5, "0.5"]),
            ("image_std", [0.5, 0.5, 0]),
            ("resample", 2),
            ("rescale_factor", 0.5),
            ("do_center_crop", False),
        ],
    )
    def test_steps_other_than_the_published_ones_are_refused_by_name(
        self, key: str, value: object, tmp_path: Path
    ) -> None:
        with pytest.raises(CheckpointError, match=rf"preprocessor_config\.json: {key}: expected .*, found"):
            Preprocessing.from_folder(self.write(tmp_path, **{key: value}))


def test_forked_workers_prepare_the_same_values(tmp_path: Path) -> None:
    paths = []
    for seed in range(4):
        paths.append(tmp_path / f"{seed}.png")
        noise(50, 40, seed).save(paths[-1])
    here = [values(path).tobytes() for path in paths]
    program = (
        "import sys, multiprocessing\nfrom test_pixel_values import values\nfrom pathlib import Path\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    results = pool.map(values, map(Path, sys.argv[1:]))\n"
        "sys.stdout.buffer.write(b''.join(result.tobytes() for result in results))\n"
    )
    command = [sys.executable, "-c", program, *map(str, paths)]
    there = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=True)
    assert there.stdout == b"".join(here)


def test_pixels_need_no_torch() -> None:
    program = "import sys, cvl.train.samples.pictures\nassert not {'torch', 'transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
