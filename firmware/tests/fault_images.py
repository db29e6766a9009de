# SPDX-License-Identifier: Apache-2.0
"""Chips that hold an image which must never run, for the fault campaign.

An image's code is a slide of instructions that do nothing of note and ends in a loop at an address of its own: wherever
it is entered, the loop is reached, and a breakpoint there says whose code ran. In the bad images the slide is made of
its own address, word after word: what overflows with it, returns to it. The good image is shorter than the bad ones.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from signed_build import Workshop

HEADER_BYTES = 0x200
GOOD_BYTES, BAD_BYTES = 0x400, 0x800  # of code
VECTOR_BYTES = 0x80  # Cortex-M: stack and entry at its start; elsewhere part of the slide
CRAFTED = ("long-name", "long-board", "many-dependencies")
KINDS = ("flipped-payload", "bad-signature", "foreign-key", "foreign-board", *CRAFTED)
LONG_BYTES = 0x180  # of a TLV that should have fewer: more than any buffer on the stack
PLACES = ("primary", "secondary")
TRAILER_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
COPY_DONE_BEFORE_END = 32  # bytes: magic, image_ok, copy_done, of which the latter two take 8 each
ED25519_TLV = bytes.fromhex("24004000")  # type and length


@dataclass(frozen=True)
class Machine:
    """What the code of an image and a fault look like on an instruction set."""

    pc: int  # numbers of registers in GDB's protocol
    arguments: tuple[int, ...]
    link: int
    narrow_nop: bytes
    wide_nop: bytes
    loop: bytes

    def size(self, code: bytes) -> int:
        """Bytes of the instruction that starts `code`."""
        if self.pc == 15:
            return 4 if code[1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
        return 4 if code[0] & 3 == 3 else 2

    def nop(self, size: int) -> bytes:
        """Does nothing in that many bytes."""
        return self.wide_nop if size == 4 else self.narrow_nop


CORTEX_M = Machine(15, (0, 1, 2, 3), 14, b"\x00\xbf", b"\xaf\xf3\x00\x80", b"\xfe\xe7")
RISC_V = Machine(32, (10, 11, 12, 13), 1, b"\x01\x00", b"\x13\x00\x00\x00", b"\x01\xa0")


def machine_of(layout: dict[str, object]) -> Machine:
    """By the board's compiler target."""
    chain = layout["toolchain"]
    assert isinstance(chain, dict)
    return CORTEX_M if str(chain["zig_target"]).startswith("thumb") else RISC_V


class ImageSet:
    """Images and chips of one board, signed with the keys of its workshop."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.layout = workshop.layout
        self.machine = machine_of(self.layout)
        app = self.layout["ram"]["app"]
        self.app_ram = range(app["base"], app["base"] + app["size"])
        self.good_end = self.app_ram.start + HEADER_BYTES + GOOD_BYTES - 2
        self.bad_end = self.app_ram.start + HEADER_BYTES + BAD_BYTES - 2

    @property
    def _entry(self) -> bytes:
        """Where the code of an image begins, as a word that a return takes."""
        thumb = self.machine is CORTEX_M
        return (self.app_ram.start + HEADER_BYTES + VECTOR_BYTES | thumb).to_bytes(4, "little")

    def _payload(self, name: str, size: int) -> Path:
        work = self.layout["ram"]["work"]
        slide = self._entry if name == "bad" else self.machine.narrow_nop * 2
        code = bytearray(slide * (size // 4))
        code[-2:] = self.machine.loop
        if self.machine is CORTEX_M:
            stack = (work["base"] + work["size"]).to_bytes(4, "little")
            code[:VECTOR_BYTES] = stack + self._entry * (VECTOR_BYTES // 4 - 1)
        path = self.workshop.folder / f"{name}.bin"
        path.write_bytes(code)
        return path

    def bad_at(self, address: int, length: int) -> bytes:
        """What the bad images hold there in RAM, behind their vectors."""
        skip = (address - self.app_ram.start - HEADER_BYTES) % 4
        return (self._entry * (length // 4 + 2))[skip : skip + length]

    def good(self) -> bytes:
        """Whole, and signed by the right key."""
        return self.workshop.sign(self._payload("good", GOOD_BYTES), "good", "1.0.0")

    def bad(self, kind: str) -> bytes:
        """One that the bootloader must refuse."""
        payload = self._payload("bad", BAD_BYTES)
        if kind == "foreign-key":
            return self.workshop.sign(payload, "bad", "2.0.0", key=str(self.workshop.key("foreign")))
        if kind == "foreign-board":
            return self.workshop.sign(payload, "bad", "2.0.0", board="foreign-one")
        if kind in CRAFTED:
            return self._crafted(payload, kind)
        image = bytearray(self.workshop.sign(payload, "bad", "2.0.0"))
        if kind == "bad-signature":
            image[image.rindex(ED25519_TLV) + len(ED25519_TLV) + 40] ^= 0x10
        else:
            image[HEADER_BYTES + BAD_BYTES // 2] ^= 0x10  # still does nothing, so it runs if it is let
        return bytes(image)

    def _crafted(self, payload: Path, kind: str) -> bytes:
        """By somebody without the key, who hopes for a fault: TLVs that would run over what they are read to."""
        long = self._entry * (LONG_BYTES // 4)
        board = (0xA0, self.workshop.board.encode())
        values = {"long-name": [(0xA2, long)], "long-board": [(0xA0, long)],
                  "many-dependencies": [board, *[(0x40, self._entry * 3)] * 24]}  # fmt: skip
        tlvs = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in values[kind])
        tlvs = struct.pack("<HH", 0x6908, len(tlvs) + 4) + tlvs
        body = payload.read_bytes()
        header = struct.pack("<IIHHIIBBHI", 0x96F3B83D, 0, HEADER_BYTES, len(tlvs), len(body), 0, 2, 0, 0, 0)
        signed = header.ljust(HEADER_BYTES, b"\0") + body + tlvs
        rest = struct.pack("<HH", 0x10, 32) + hashlib.sha256(signed).digest() + ED25519_TLV + self._entry * 16
        return signed + struct.pack("<HH", 0x6907, len(rest) + 4) + rest

    def empty_chip(self) -> bytes:
        """Flash with the bootloader alone."""
        areas = self.layout["flash"]["areas"]
        flash = bytearray(b"\xff" * self.layout["flash"]["size"])
        for area, data in (("boot", self.workshop.bootloader()), ("otp", b"ASSYOTP1" + bytes(range(0x10, 0x20)))):
            flash[areas[area]["offset"] : areas[area]["offset"] + len(data)] = data
        return bytes(flash)

    def chip(self, kind: str, place: str) -> bytes:
        """Flash with the bootloader and the bad image in `place`. If that is the secondary slot, the good one in the
        primary slot is under test and not confirmed: the bootloader should go back, and must not."""
        areas = self.layout["flash"]["areas"]
        flash = bytearray(self.empty_chip())

        def put(area: str, data: bytes) -> None:
            flash[areas[area]["offset"] : areas[area]["offset"] + len(data)] = data

        put(place, self.bad(kind))
        if place == "secondary":
            put("primary", self.good())
            end = areas["primary"]["offset"] + areas["primary"]["size"]
            flash[end - len(TRAILER_MAGIC) : end] = TRAILER_MAGIC
            flash[end - COPY_DONE_BEFORE_END] = 1
        return bytes(flash)
