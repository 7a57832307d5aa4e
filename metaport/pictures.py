"""Pictures people upload: decoded and written anew, so that nothing of the file itself is kept.

What counts is what the bytes are, not what the request calls them. A file is decoded by the
decoders of four formats only, at most `MOST_PIXELS` large, turned upright, cut to a square and
written as WebP without any of its metadata.
"""

from __future__ import annotations

import hashlib
import struct
import warnings
from io import BytesIO
from typing import NamedTuple

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MOST_BYTES = 1_048_576
# A phone's camera has 12 to 50 million; a browser scales an avatar down before it sends it. 16
# million take 48 MiB and 0.2 s here.
MOST_PIXELS = 16_000_000
SIDE = 256
MEDIA_TYPE = "image/webp"


class Picture(NamedTuple):
    """A picture as it is kept, named by the SHA-256 of its bytes."""

    digest: str
    media_type: str
    content: bytes


class NoPicture(ValueError):
    """The bytes are no picture that is taken; the sentence says why."""


def read_picture(data: bytes) -> Picture:
    """Decode a picture and write it anew; takes up to 0.3 s. Raises `NoPicture`."""
    if len(data) > MOST_BYTES:
        raise NoPicture(f"more than {MOST_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            # What is suspicious to the library is refused.
            warnings.simplefilter("error")
            content = _written_anew(data)
    except NoPicture:
        raise
    except (
        OSError, SyntaxError, ValueError, EOFError, struct.error, LookupError, TypeError,
        ArithmeticError, Warning, Image.DecompressionBombError,
    ) as error:  # fmt: skip
        # The decoders raise whatever a broken file leads them to.
        raise NoPicture(type(error).__name__) from None
    return Picture(hashlib.sha256(content).hexdigest(), MEDIA_TYPE, content)


def _written_anew(data: bytes) -> bytes:
    with Image.open(BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if not 0 < width * height <= MOST_PIXELS:
            raise NoPicture(f"more than {MOST_PIXELS} pixels")
        image.draft("RGB", (SIDE, SIDE))
        upright = ImageOps.exif_transpose(image)
        square = ImageOps.fit(upright.convert("RGBA"), (SIDE, SIDE))
    out = BytesIO()
    # A new image: `square` still carries the metadata of the file.
    clean = Image.new("RGBA", square.size)
    clean.paste(square)
    clean.save(out, "WEBP", quality=80)
    return out.getvalue()
