# SPDX-License-Identifier: Apache-2.0
"""The reference firmware for tests on twins: built and signed once for all test processes of a machine.

The release tests sign and build through `assay`; here the firmware is a means, so it is made as short as can be.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.backends.builders.detools_patches import DetoolsPatches
from assay.model.board import Board

ROOT = Path(__file__).parents[2]
SECURITY_COUNTERS = {"1.4.0": "2"}
"""Of the versions that have another one than 1."""
CACHE = Path(tempfile.gettempdir()) / f"assay-test-firmware-{os.getuid()}" / "cache"
NAMES = {"app": "demo-sensor", "radio": "demo-radio"}
RADIOS = ("1.0.0", "1.1.0")
APPS = {"1.0.0": (), "1.1.0": (), "1.2.0": ("--define", "SELFTEST_FAULT=1"), "1.3.0": (), "1.4.0": ()}


@dataclass(frozen=True)
class Firmware:
    """Files for one board: the mask ROM's ELF, signed bootloader, signed apps by version; all of them in `folder`."""

    board: Board
    rom: Path
    bootloader: bytes
    apps: dict[str, bytes]
    folder: Path


def board_of(name: str) -> Board:
    """`boards/NAME.toml`."""
    return Board.model_validate_json(json.dumps(tomllib.loads((ROOT / "boards" / f"{name}.toml").read_text())))


def image_hash(image: bytes) -> bytes:
    """MCUboot's hash of a signed image: SHA-256 over header, payload and protected TLVs."""
    _magic, _load, header, protected, payload = struct.unpack_from("<IIHHI", image)
    return hashlib.sha256(image[: header + payload + protected]).digest()


def firmware_for(name: str) -> Firmware:
    """Build what is not there yet; other test processes wait for it."""
    folder = Path(tempfile.gettempdir()) / f"assay-test-firmware-{os.getuid()}" / f"{name}-{_sources_digest(name)}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        board = board_of(name)
        if not (folder / "done").exists():
            _make(folder, board)
            (folder / "done").touch()
    apps = {version: (folder / f"app-{version}.signed").read_bytes() for version in APPS}
    return Firmware(
        board, folder / "rom-1.0.0" / "part.elf", (folder / "bootloader-1.0.0.signed").read_bytes(), apps, folder
    )


def known_fault(why: str) -> dict[str, Any]:
    """The fault `why` of `firmware/tests/mutants.toml`: `file`, and `edits` of `right` and `wrong` text."""
    mutants = tomllib.loads((ROOT / "firmware" / "tests" / "mutants.toml").read_text())["mutant"]
    (fault,) = (mutant for mutant in mutants if mutant["why"] == why)
    found: dict[str, Any] = fault
    return found


def wrong_bootloader(firmware: Firmware, fault: dict[str, Any]) -> Path:
    """A signed bootloader with a fault in one file of the core."""
    folder = firmware.folder / f"wrong-{hashlib.sha256(json.dumps(fault).encode()).hexdigest()[:8]}"
    with (firmware.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bootloader-1.0.0.signed").exists():
            tree = folder / "firmware"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(ROOT / "firmware", tree)
            source = tree / "core" / fault["file"]
            for edit in fault["edits"]:
                text = source.read_text()
                assert text.count(edit["right"]) == 1, f"{fault['file']} has changed: {edit['right']}"
                source.write_text(text.replace(edit["right"], edit["wrong"]))
            for file in ("image.pem", "image.pub.pem"):
                shutil.copy(firmware.folder / file, folder)
            key = ("--image-pubkey", str(folder / "image.pub.pem"))
            _build(folder, firmware.board, "bootloader", "1.0.0", key, tree)
            _sign(folder, firmware.board, "bootloader", "1.0.0", "boot")
    return folder / "bootloader-1.0.0.signed"


def large_app(name: str, size: int, version: str = "1.3.0", seed: int = 1) -> bytes:
    """The app with as many random bytes behind it as make an image of about `size` bytes; it runs like the app."""
    firmware = firmware_for(name)
    folder = firmware.rom.parents[1]
    signed = folder / f"app-{version}-{size}-{seed}.signed"
    if not signed.exists():
        payload = (folder / "app-1.1.0" / "payload.bin").read_bytes()
        padded = folder / f"app-{version}-{size}-{seed}.bin"
        padded.write_bytes(payload + random.Random(seed).randbytes(size - len(payload)))
        fresh = padded.with_suffix(f".{os.getpid()}")
        _imgtool_sign(folder, firmware.board, "demo-sensor", version, "primary", padded, fresh)
        fresh.replace(signed)
    return signed.read_bytes()


def signed_patch(firmware: Firmware, base: str, gives: str) -> Path:
    """The signed patch from one version of the app to another."""
    signed = firmware.folder / f"patch-{base}-{gives}.signed"
    if not signed.exists():
        old, new = firmware.apps[base], firmware.apps[gives]
        patch, fresh = signed.with_suffix(f".{os.getpid()}.bin"), signed.with_suffix(f".{os.getpid()}")
        patch.write_bytes(DetoolsPatches().make(old, new, "crle"))
        binding = {"0x00a3": image_hash(old), "0x00a4": image_hash(new), "0x00a5": b"\1\0\0\0"}
        tlvs = [word for tag, value in binding.items() for word in ("--custom-tlv", tag, f"0x{value.hex()}")]
        more = ("--non-bootable", *tlvs)
        _imgtool_sign(firmware.folder, firmware.board, NAMES["app"], gives, "secondary", patch, fresh, *more)
        fresh.replace(signed)
    return signed


def _make(folder: Path, board: Board) -> None:
    key = folder / "image.pem"
    _run([_imgtool(), "keygen", "-t", "ed25519", "-k", str(key)])
    public = folder / "image.pub.pem"
    public.write_text(_run([_imgtool(), "getpub", "-e", "pem", "-k", str(key)]))
    _build(folder, board, "rom", "1.0.0", ())
    _build(folder, board, "bootloader", "1.0.0", ("--image-pubkey", str(public)))
    _sign(folder, board, "bootloader", "1.0.0", "boot")
    for version in RADIOS:
        _build(folder, board, "radio", version, ())
        _sign(folder, board, "radio", version, "radio_primary")
    for version, defines in APPS.items():
        _build(folder, board, "app", version, defines)
        _sign(folder, board, "app", version, "primary")


def _build(
    folder: Path, board: Board, part: str, version: str, more: tuple[str, ...], tree: Path = ROOT / "firmware"
) -> None:
    name = NAMES.get(part, f"assay-{part}")
    command = [sys.executable, str(tree / "build.py"), "--part", part, "--version", version]
    command += ["--board-toml", str(ROOT / "boards" / f"{board.name}.toml"), "--name", name]
    command += ["--out", str(folder / f"{part}-{version}"), "--cache", str(CACHE), *more]
    _run(command)


def _sign(folder: Path, board: Board, part: str, version: str, area: str) -> None:
    name = NAMES.get(part, f"assay-{part}")
    payload = folder / f"{part}-{version}" / "payload.bin"
    _imgtool_sign(folder, board, name, version, area, payload, folder / f"{part}-{version}.signed")


def _imgtool_sign(
    folder: Path, board: Board, name: str, version: str, area: str, payload: Path, signed: Path, *more: str
) -> None:
    tlvs = {"0x00a0": board.name, "0x00a1": "0x" + board.revision.to_bytes(4, "little").hex(), "0x00a2": name}
    command = [_imgtool(), "sign", "--key", str(folder / "image.pem"), "--align", "1", "--header-size", "0x200"]
    command += ["--pad-header", "--slot-size", hex(board.flash.areas[area].size), "--version", version]
    command += ["--security-counter", SECURITY_COUNTERS.get(version, "1"), *more]
    if area == "radio_primary":
        tlvs["0x00a6"] = "0x01000000"
    for tag, value in tlvs.items():
        command += ["--custom-tlv", tag, value]
    _run([*command, str(payload), str(signed)])


def _sources_digest(name: str) -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes() + (ROOT / "boards" / f"{name}.toml").read_bytes())
    for file in sorted((ROOT / "firmware").rglob("*")):
        if file.is_file() and "tests" not in file.parts and file.suffix in (".c", ".h", ".def", ".zig", ".py", ".S"):
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _imgtool() -> str:
    return str(Path(sys.executable).with_name("imgtool"))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
