"""Pictures as they are stored: known by their bytes, measured by their boxes, without what cameras write."""

from __future__ import annotations

import io
import random
import struct
import zlib
from contextlib import suppress

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from folkmoot.files.pictures import Broken, kind_of, read

SECRET = b"Anna's telephone"
FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def taken(kind: str, side: int = 6) -> bytes:
    """A picture with the name of its maker in every place that its format has for it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = side, SECRET.decode()
    said: dict = {} if kind == "GIF" else {"exif": exif.tobytes()}
    if kind == "PNG":
        said["pnginfo"] = PngInfo()
        said["pnginfo"].add_text("Author", SECRET.decode())
        said["pnginfo"].add_itxt("XML:com.adobe.xmp", SECRET.decode())
    if kind in ("JPEG", "GIF"):
        said["comment"] = SECRET
    if kind in ("JPEG", "WEBP"):
        said["xmp"] = SECRET
    out = io.BytesIO()
    noise().save(out, kind, **said)
    return out.getvalue() + SECRET


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_camera_wrote_is_gone_and_the_pixels_are_the_same(kind):
    data = taken(kind)
    assert SECRET in data
    picture = read(data)
    assert SECRET not in picture.data
    assert (picture.media_type, picture.width, picture.height) == (f"image/{kind.lower()}", 64, 48)
    assert pixels(picture.data) == pixels(data)
    assert read(picture.data).data == picture.data


@pytest.mark.parametrize("side", [1, 3, 6, 8, 9])
def test_a_photograph_stays_the_right_way_up(side):
    kept = Image.open(io.BytesIO(read(taken("JPEG", side)).data)).getexif()
    assert dict(kept) == ({0x0112: side} if 2 <= side <= 8 else {})


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_a_moving_picture_goes_on_moving(kind):
    out = io.BytesIO()
    noise().save(out, kind, save_all=True, append_images=[noise() for _ in range(3)], loop=0)
    assert Image.open(io.BytesIO(read(out.getvalue()).data)).n_frames == 4


def test_progressive_and_lossless_pictures_are_read():
    for kind, said in (("JPEG", {"progressive": True}), ("WEBP", {"lossless": True})):
        out = io.BytesIO()
        noise(31, 17).save(out, kind, **said)
        picture = read(out.getvalue())
        assert (picture.width, picture.height) == (31, 17)
        assert pixels(picture.data) == pixels(out.getvalue())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_cut_off_is_refused(kind):
    whole = taken(kind).removesuffix(SECRET)
    for end in random.Random(4).sample(range(16, len(whole) - 2), 40):
        with pytest.raises(Broken):
            read(whole[:end])


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_is_refused_or_passed_over_but_never_a_crash(kind):
    dice, whole = random.Random(5), taken(kind)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(6):
            damaged[dice.randrange(4, min(len(damaged), 700))] = dice.randrange(256)
        with suppress(Broken):
            assert read(bytes(damaged)).width


def test_a_picture_that_unfolds_to_gigabytes_costs_nothing_and_tells_its_size():
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**7))) + chunk(b"IEND", b"")
    )
    picture = read(bomb)
    assert (picture.width, picture.height) == (100_000, 100_000)


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"BM1234", b"II*\0"])
def test_what_is_no_such_picture_is_not_taken_for_one(data):
    assert kind_of(data) is None
    with pytest.raises(Broken):
        read(data)
