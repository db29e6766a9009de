# SPDX-License-Identifier: Apache-2.0
"""The frames of an image upload.

Guards: the frame that asks where to go on fits into every server's buffer; a frame in raw framing, which has no
checksum of its own, carries one.
Leaves to others: which frame is sent when (`drivers.mcumgr.upload`).
"""

from __future__ import annotations

import zlib

from smp.image_management import ImageUploadWriteRequest

QUESTION_BYTES = 32  # of image in the frame that asks: an image's header, the least that Zephyr's server takes
HEADER_BYTES = 26  # of a frame without its data: 8 of header, names, an offset and a length of full size
QUESTION_FRAME_BYTES = 112  # of that whole frame, with the longest numbers
CHECKSUM_BYTES = 9  # more, with a checksum
GRAIN_BYTES = 32  # a server that took a part of a frame gets multiples of this: the most that a flash writes at once


_NAMES_BYTES = 20  # of a frame: 8 of header, one of the map, the names, and the first bytes of two numbers
_SHORT_MAX, _BYTE_MAX, _HALF_MAX = 23, 0xFF, 0xFFFF  # CBOR: numbers up to these take no, one, two more bytes


def fitting(frame_bytes: int, offset: int) -> int:
    """How much data a frame of `frame_bytes`, all but its checksum, can hold at `offset`; may be less than nothing."""
    room = frame_bytes - _NAMES_BYTES - _more_bytes(offset)
    return room - _more_bytes(max(room, 0))


def _more_bytes(number: int) -> int:
    if number <= _SHORT_MAX:
        return 0
    if number <= _BYTE_MAX:
        return 1
    return 2 if number <= _HALF_MAX else 4


class CheckedChunk(ImageUploadWriteRequest):
    """With CRC-32 over offset (4 bytes, little-endian) and data; a server that does not know `crc` ignores it."""

    crc: int | None = None


def question(data: bytes, file_sha256: bytes | None, sequence: int, image: int = 0) -> ImageUploadWriteRequest:
    """Names the upload, of MCUmgr's image number `image`: its answer is the offset to go on from, which is the end when
    all is there. Without `file_sha256`, for which the smallest buffers have no room, it begins anew.
    """
    return ImageUploadWriteRequest(
        off=0, data=data[:QUESTION_BYTES], image=image, len=len(data), sha=file_sha256, sequence=sequence
    )


def chunk(offset: int, data: bytes, sequence: int, *, checked: bool) -> ImageUploadWriteRequest:
    """The bytes from `offset` on."""
    if not checked:
        return ImageUploadWriteRequest(off=offset, data=data, sequence=sequence)
    crc = zlib.crc32(data, zlib.crc32(offset.to_bytes(4, "little")))
    return CheckedChunk(off=offset, data=data, crc=crc, sequence=sequence)
