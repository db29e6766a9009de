# SPDX-License-Identifier: Apache-2.0
"""USB devices that are programs: an STM32's ROM in DFU mode (DfuSe), plain DFU, a hub that switches its ports, and a
debug probe with a chip (CMSIS-DAP).

Run by Debian's Python with umockdev, which shows them to whatever is preloaded with it, as the kernel's usbfs would:
the real dfu-util, uhubctl, OpenOCD, pyOCD and libusb talk to them. What a device does is written after USB 2.0
(chapters 9 and 11), DFU 1.1, ST's AN3156 and Arm's CMSIS-DAP.

    umockdev-wrapper /usr/bin/python3 usb_gadgets.py FOLDER DEVICES

FOLDER gets what each device holds; DEVICES is a JSON list of {"kind", "socket", ...} (`usb_plugged`). Prints
umockdev's folder, and ends with its standard input.
"""

from __future__ import annotations

import errno
import json
import mmap
import struct
import sys
from pathlib import Path

import gi
from cmsis_dap import PACKET_BYTES, CmsisDap
from nrf_chip import FLASH, NrfChip

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

GET_CAPABILITIES, SUBMIT, REAP, REAP_NOW = 0x8004551A, 0x8038550A, 0x4008550C, 0x4008550D
DISCARD, GET_DRIVER = 0x550B, 0x41045508
QUIET = (0x8004550F, 0x80045510, 0x80085504, 0x8108551B, 0x80045515, 0x5514)
"""Claim and release an interface, choose a setting, take it from a driver, clear a halt, reset."""
URB_BYTES, URB_BUFFER, URB_STATUS, URB_ACTUAL = 56, 16, 4, 28
"""struct usbdevfs_urb of 64-bit Linux, and where in it."""
SETUP_BYTES = 8
STANDARD_GET_DESCRIPTOR, STRING = (0x80, 6), 3


class Stall(Exception):
    """The device does not know that."""


class Gone(Exception):
    """The device is not there any more."""


class Gadget(UMockdev.IoctlBase):
    """A device with a control endpoint; `control` is what it does."""

    ids, kind, strings = (0, 0), 0, ()
    configuration = b""

    def __init__(self, folder: Path, settings: dict) -> None:
        super().__init__()
        self.settings, self.kept = settings, folder / settings["socket"]
        self.gone, self._urbs = False, []

    def descriptors(self) -> bytes:
        """Of the device and of its configuration, as sysfs has them."""
        device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x200, self.kind, 0, 0, 64, *self.ids, 0x2200, 1, 2, 3, 1)
        head = struct.pack("<BBHBBBBB", 9, 2, 9 + len(self.configuration), 1, 1, 0, 0x80, 50)
        return device + head + self.configuration

    def control(self, request: tuple, value: int, index: int, length: int, data: bytes) -> bytes:
        """What is answered. Raises Stall, Gone."""
        if request != STANDARD_GET_DESCRIPTOR or value >> 8 != STRING or value & 0xFF > len(self.strings):
            raise Stall
        text = self.strings[(value & 0xFF) - 1].encode("utf-16le") if value & 0xFF else b"\x09\x04"
        return bytes([len(text) + 2, STRING]) + text

    def do_handle_ioctl(self, client) -> bool:
        """A request to usbfs."""
        try:
            client.complete(self._asked(client.get_request() & 0xFFFFFFFF, client.get_arg()), 0)
        except OSError as error:
            client.complete(-1, error.errno)
        return True

    def _asked(self, request: int, argument) -> int:
        if self.gone:
            raise OSError(errno.ENODEV, "")
        if request == GET_DRIVER:
            raise OSError(errno.ENODATA, "")
        if request == GET_CAPABILITIES:
            argument.resolve(0, 4).update(0, struct.pack("<I", 1))
        elif request == SUBMIT:
            self._submitted(argument.resolve(0, URB_BYTES))
        elif request in (REAP, REAP_NOW):
            if not self._urbs:
                raise OSError(errno.EAGAIN, "")
            argument.resolve(0, 8).update(0, struct.pack("<Q", self._urbs.pop(0)))
        elif request not in QUIET:
            raise OSError(errno.ENOTTY, "")
        return 0

    def _submitted(self, urb) -> None:
        (size,) = struct.unpack_from("<i", bytes(urb.retrieve()), 24)
        buffer = urb.resolve(URB_BUFFER, size)
        body = bytes(buffer.retrieve())
        kind, request, value, index, length = struct.unpack_from("<BBHHH", body)
        status, actual = 0, length
        try:
            answer = self.control((kind, request), value, index, length, body[SETUP_BYTES:])[:length]
            if kind & 0x80:
                actual = len(answer)
                buffer.update(SETUP_BYTES, answer)
        except Stall:
            status, actual = -errno.EPIPE, 0
        except Gone:
            self.gone = True
            raise OSError(errno.ENODEV, "") from None
        urb.update(URB_STATUS, struct.pack("<i", status))
        urb.update(URB_ACTUAL, struct.pack("<i", actual))
        self._urbs.append(urb.client_addr)


class Dfu(Gadget):
    """64 KiB of flash in pages of 2 KiB. Settings: `serial`; `worn` (a byte that stays 0), `refuses` (a DFU status, in
    place of the first write), `gone_after` (so many writes), `leaves_at_once` (without an answer).
    """

    ids = (0x0483, 0xDF11)
    IDLE, SYNC, BUSY, DOWNLOADING, MANIFEST, UPLOADING, FAULT = 2, 3, 4, 5, 7, 9, 10
    BASE, PAGE, SIZE = 0x08000000, 2048, 0x10000
    configuration = (
        bytes([9, 4, 0, 0, 0, 0xFE, 1, 2, 4])
        + bytes([9, 4, 0, 1, 0, 0xFE, 1, 2, 5])
        + struct.pack("<BBBHHH", 9, 0x21, 0x0B, 255, PAGE, 0x011A)
    )

    def __init__(self, folder: Path, settings: dict) -> None:
        super().__init__(folder, settings)
        flash, option = "@Internal Flash  /0x08000000/32*002Kg", "@Option Bytes  /0x1FFFF800/01*016 e"
        self.strings = ("STMicroelectronics", "STM32 BOOTLOADER", settings["serial"], flash, option)
        self.state, self.status, self.at, self.writes = self.IDLE, 0, self.BASE, 0
        self.flash = bytearray(b"\xff" * self.SIZE)
        self.keep()

    def keep(self) -> None:
        """Where the test sees it."""
        self.kept.write_bytes(self.flash)

    def control(self, request: tuple, value: int, index: int, length: int, data: bytes) -> bytes:
        """DFU's requests."""
        does = {(0x21, 1): self.download, (0xA1, 2): self.upload}.get(request)
        if does is not None:
            return does(value, data if request[1] == 1 else length)
        if request == (0xA1, 3):
            return self.get_status()
        if request == (0xA1, 5):
            return bytes([self.state])
        if request in ((0x21, 4), (0x21, 6)):  # clear status, abort
            self.state, self.status = self.IDLE, 0
            return b""
        return super().control(request, value, index, length, data)

    def get_status(self) -> bytes:
        """It is busy for one question after each block."""
        told = self.state
        if told == self.SYNC:
            told, self.state = self.BUSY, self.DOWNLOADING
            if self.status:
                told = self.state = self.FAULT
        if told == self.MANIFEST and self.settings.get("leaves_at_once"):
            raise Gone
        return bytes([self.status, 0, 0, 0, told, 0])

    def download(self, block: int, data: bytes) -> bytes:
        """Block 0 is a command, from 2 on it is data; nothing leaves DFU mode."""
        self.state = self.SYNC if data else self.MANIFEST
        if block == 0 and data[:1] == b"\x21":
            (self.at,) = struct.unpack("<I", data[1:5])
        elif block == 0 and data[:1] == b"\x41":
            (page,) = struct.unpack("<I", data[1:5])
            self.put(page, b"\xff" * self.PAGE)
        elif block >= 2:
            self.write(self.at + (block - 2) * self.PAGE, data)
        return b""

    def write(self, at: int, data: bytes) -> None:
        """A block of data."""
        self.writes += 1
        if self.writes > self.settings.get("gone_after", self.SIZE):
            raise Gone
        self.status = self.settings.get("refuses", 0)
        if not self.status:
            self.put(at, data)

    def put(self, at: int, data: bytes) -> None:
        """Into the flash."""
        self.flash[at - self.BASE : at - self.BASE + len(data)] = data
        if "worn" in self.settings:
            self.flash[self.settings["worn"]] = 0
        self.keep()

    def upload(self, block: int, length: int) -> bytes:
        """What the flash holds."""
        at = self.at - self.BASE + (block - 2) * self.PAGE
        self.state = self.UPLOADING
        return bytes(self.flash[at : at + length])


class PlainDfu(Dfu):
    """DFU 1.1 without addresses: blocks come in order, and a reset starts what came."""

    ids = (0x1209, 0xDB42)
    configuration = bytes([9, 4, 0, 0, 0, 0xFE, 1, 2, 4]) + struct.pack("<BBBHHH", 9, 0x21, 0x05, 255, 2048, 0x0110)

    def __init__(self, folder: Path, settings: dict) -> None:
        super().__init__(folder, settings)
        self.strings = ("somebody", "a board in DFU mode", settings["serial"], "firmware")

    def get_status(self) -> bytes:
        """What came is taken at once."""
        told = super().get_status()
        self.state = self.IDLE if self.state == self.MANIFEST else self.state
        return told

    def download(self, block: int, data: bytes) -> bytes:
        """The block in its place."""
        self.state = self.SYNC if data else self.MANIFEST
        if data:
            self.write(self.BASE + block * self.PAGE, data)
        return b""


class Hub(Gadget):
    """Four ports, each with a switch of its own; `stuck` is one whose switch does nothing."""

    ids, kind = (0x05E3, 0x0608), 9
    POWER, GET, SET, CLEAR = 8, (0xA3, 0), (0x23, 3), (0x23, 1)
    PORTS = 4
    configuration = bytes([9, 4, 0, 0, 1, 9, 0, 0, 0]) + struct.pack("<BBBBHB", 7, 5, 0x81, 3, 1, 12)
    descriptor = struct.pack("<BBBHBBBB", 9, 0x29, PORTS, 0x0009, 50, 100, 0, 0xFF)

    def __init__(self, folder: Path, settings: dict) -> None:
        super().__init__(folder, settings)
        self.strings = ("GenesysLogic", "USB2.0 Hub", "")
        self.on = dict.fromkeys(range(1, self.PORTS + 1), True)
        self.keep()

    def keep(self) -> None:
        """Which ports have power."""
        self.kept.write_text(json.dumps([port for port, on in self.on.items() if on]))

    def control(self, request: tuple, value: int, index: int, length: int, data: bytes) -> bytes:
        """A hub's requests."""
        if request == (0xA0, 6) and value >> 8 == 0x29:
            return self.descriptor
        if request == self.GET and index in self.on:
            return struct.pack("<HH", 0x0100 if self.on[index] else 0, 0)
        if request in (self.SET, self.CLEAR) and value == self.POWER and index in self.on:
            self.on[index] = self.on[index] if index == self.settings.get("stuck") else request == self.SET
            self.keep()
            return b""
        return super().control(request, value, index, length, data)


class Probe(Gadget):
    """A CMSIS-DAP probe with two bulk endpoints, and an nRF52840 on it. Settings: `serial`; `firmware`, `unique` (the
    chip's number), `gone_after` (so many accesses to its memory).
    """

    ids = (0x0D28, 0x0204)
    OUT, IN, BULK = 0x01, 0x82, 3
    configuration = (
        bytes([9, 4, 0, 0, 2, 0xFF, 0, 0, 4])
        + struct.pack("<BBBBHB", 7, 5, OUT, 2, PACKET_BYTES, 0)
        + struct.pack("<BBBBHB", 7, 5, IN, 2, PACKET_BYTES, 0)
    )

    def __init__(self, folder: Path, settings: dict) -> None:
        super().__init__(folder, settings)
        self.strings = ("Assay", "CMSIS-DAP of a program", settings["serial"], "CMSIS-DAP v2")
        self.kept.write_bytes(b"\xff" * FLASH)
        chip = NrfChip(settings.get("unique", 0x0123456789ABCDEF))
        with self.kept.open("r+b") as kept:
            chip.flash = mmap.mmap(kept.fileno(), FLASH)
        chip.gone_after = settings.get("gone_after")
        self.dap = CmsisDap(chip, settings["serial"], settings.get("firmware", "2.1.0"))
        self._answers, self._asking, self._given_up = [], [], []

    def _asked(self, request: int, argument) -> int:
        if request == DISCARD and not self.gone:
            self._given_up += struct.unpack("<Q", bytes(argument.retrieve()))
            return 0
        if request in (REAP, REAP_NOW) and not self.gone and not self._urbs:
            return self._reaped(argument.resolve(0, 8))
        return super()._asked(request, argument)

    def _submitted(self, urb) -> None:
        (kind, endpoint), (size,) = bytes(urb.retrieve())[:2], struct.unpack_from("<i", bytes(urb.retrieve()), 24)
        if kind != self.BULK:
            super()._submitted(urb)
        elif endpoint == self.IN:
            self._asking.append(urb.client_addr)
        else:
            self._taken(bytes(urb.resolve(URB_BUFFER, size).retrieve()) if size else b"")
            urb.update(URB_STATUS, struct.pack("<i", 0))
            urb.update(URB_ACTUAL, struct.pack("<i", size))
            self._urbs.append(urb.client_addr)

    def _taken(self, packet: bytes) -> None:
        try:
            answer = self.dap.answer(packet) if packet else b""
        except ConnectionError:
            self.gone = True
            raise OSError(errno.ENODEV, "") from None
        if answer:
            self._answers.append(answer)

    def _reaped(self, pointer) -> int:
        """A read that was answered or given up; its buffer is reached through the pointer that is given back."""
        given_up = [each for each in self._given_up if each in self._asking]
        if not given_up and not (self._asking and self._answers):
            raise OSError(errno.EAGAIN, "")
        address = given_up[0] if given_up else self._asking[0]
        self._asking.remove(address)
        pointer.update(0, struct.pack("<Q", address))
        urb = pointer.resolve(0, URB_BYTES)
        answer = b"" if given_up else self._answers.pop(0)
        if given_up:
            self._given_up.remove(address)
        else:
            urb.resolve(URB_BUFFER, struct.unpack_from("<i", bytes(urb.retrieve()), 24)[0]).update(0, answer)
        urb.update(URB_STATUS, struct.pack("<i", -errno.ENOENT if given_up else 0))
        urb.update(URB_ACTUAL, struct.pack("<i", len(answer)))
        return 0


KINDS = {"dfu": Dfu, "plain-dfu": PlainDfu, "hub": Hub, "probe": Probe}


def plug_in(bed, number: int, gadget: Gadget) -> None:
    """The device in its socket, with the attributes that libusb reads."""
    node, vendor, product = f"/dev/bus/usb/001/{number:03}", *gadget.ids
    facts = {"busnum": 1, "devnum": number, "speed": 12, "bConfigurationValue": 1, "bNumConfigurations": 1}
    facts |= {"idVendor": f"{vendor:04x}", "idProduct": f"{product:04x}"}
    lines = [f"P: /devices/pci0/usb1/{gadget.settings['socket']}", f"N: {node.removeprefix('/dev/')}"]
    lines += [f"E: {word}" for word in (f"DEVNAME={node}", "DEVTYPE=usb_device", "SUBSYSTEM=usb")]
    lines += [f"E: BUSNUM=001\nE: DEVNUM={number:03}"]
    lines += [f"A: {name}={value}\\n" for name, value in facts.items()]
    bed.add_from_string("\n".join([*lines, f"H: descriptors={gadget.descriptors().hex().upper()}", "", ""]))
    bed.attach_ioctl(node, gadget)


def main(folder: str, devices: str) -> None:
    """Until standard input ends."""
    bed, loop = UMockdev.Testbed.new(), GLib.MainLoop()
    gadgets = [KINDS[each["kind"]](Path(folder), each) for each in json.loads(devices)]
    for number, gadget in enumerate(gadgets, 4):
        plug_in(bed, number, gadget)
    GLib.io_add_watch(sys.stdin.fileno(), GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    print(bed.get_root_dir(), flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
