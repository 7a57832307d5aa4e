"""Whatever is uploaded as a picture: what is kept was written here, or nothing is."""

import random
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from metaport.pictures import MOST_BYTES, SIDE, NoPicture, read_picture


def encoded(kind, size=(300, 200), **options):
    out = BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind, **options)
    return out.getvalue()


def png_of(width, height):
    """A PNG that says it is as large as that, and holds nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_is_written_anew_as_a_square(kind):
    picture = read_picture(encoded(kind))
    with Image.open(BytesIO(picture.content)) as image:
        assert (image.format, image.size) == ("WEBP", (SIDE, SIDE))
    assert read_picture(encoded(kind)) == picture


def test_nothing_of_the_file_itself_is_kept():
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    data = encoded("JPEG", exif=exif, comment=b"<script>alert(1)</script>")
    assert b"where it was taken" in data
    content = read_picture(data + b"<script>alert(2)</script>").content
    assert b"script" not in content
    assert b"taken" not in content
    with Image.open(BytesIO(content)) as image:
        assert not image.getexif()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<html><script>alert(1)</script></html>",
        encoded("BMP"),
        encoded("TIFF"),
        encoded("ICO", (32, 32)),
        encoded("PNG")[:100],
        png_of(50_000, 50_000),
        png_of(2**31 - 1, 2**31 - 1),
        png_of(0, 5),
        encoded("PNG") + bytes(MOST_BYTES),
    ],
)
def test_what_is_none_or_too_large_is_refused(data):
    with pytest.raises(NoPicture):
        read_picture(data)


def test_no_broken_file_raises_anything_else():
    dice = random.Random(7)
    for number in range(400):
        data = bytearray(encoded(("PNG", "JPEG", "WEBP", "GIF")[number % 4], (40, 30)))
        for _ in range(dice.randint(1, 12)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            read_picture(bytes(data[: dice.randint(1, len(data))] if number % 3 else data))
        except NoPicture:
            continue
