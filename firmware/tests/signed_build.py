# SPDX-License-Identifier: Apache-2.0
"""Builds and signs firmware for the firmware's own tests, by build.py and imgtool as a person would call them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRMWARE = Path(__file__).resolve().parent.parent
BOARDS = FIRMWARE.parent / "boards"
TIMEOUT_S = 300
BOOTLOADER_NUMBER = "0xff000000"  # little-endian: a bootloader in a slot is refused for its number


def run(command: list[str]) -> str:
    """Runs a tool; its output, or a RuntimeError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[:3]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def imgtool(*arguments: str) -> str:
    """imgtool of this Python's environment."""
    return run([sys.executable, "-m", "imgtool.main", *arguments])


@dataclass
class Workshop:
    """Where one board's firmware is built and signed, with a key made for the purpose."""

    board: str
    folder: Path
    cache: Path
    compiler: str = "zig"
    firmware: Path = FIRMWARE

    @property
    def toml(self) -> Path:
        """The board's file."""
        return BOARDS / f"{self.board}.toml"

    @property
    def layout(self) -> dict[str, Any]:
        """The board's file, read."""
        return tomllib.loads(self.toml.read_text(encoding="utf-8"))

    def key(self, name: str = "image") -> Path:
        """An Ed25519 key, made on first use; its public half lies beside it as NAME.pub."""
        path = self.folder / f"{name}.pem"
        if not path.exists():
            imgtool("keygen", "-t", "ed25519", "-k", str(path))
            imgtool("getpub", "-e", "pem", "-k", str(path), "-o", str(path.with_suffix(".pub")))
        return path

    def build(self, part: str, version: str = "1.0.0", defines: tuple[str, ...] = (), symbols: bool = False) -> Path:
        """The folder with payload.bin and part.elf; the latter with names if there shall be `symbols`."""
        folder = self.folder / f"{part}-{version}-{self.compiler}{'-'.join(defines)}{'-symbols' * symbols}"
        if (folder / "part.elf").exists():
            return folder  # nothing it was made from changes while the tests run
        command = [sys.executable, str(self.firmware / "build.py"), "--part", part, "--board-toml", str(self.toml),
                   "--out", str(folder), "--cache", str(self.cache), "--version", version,
                   "--cc", self.compiler]  # fmt: skip
        if part == "bootloader":
            command += ["--image-pubkey", str(self.key().with_suffix(".pub"))]
        for define in defines:
            command += ["--define", define]
        if symbols:
            command.append("--symbols")
        run(command)
        return folder

    def sign(self, payload: Path, name: str, version: str, area: str = "primary", **changes: str) -> bytes:
        """The signed image. `changes`: key, board, counter, revision, and `extra` words for imgtool, with blanks."""
        board = changes.get("board", self.board)
        named = "-".join([name, version, area, *sorted(changes.values())]).replace("/", "_")
        image = payload.with_name(f"{named}.img")
        if image.exists():
            return image.read_bytes()
        imgtool("sign", "--key", changes.get("key", str(self.key())), "--header-size", "0x200", "--pad-header",
                "--align", "1", "--slot-size", hex(self.layout["flash"]["areas"][area]["size"]), "--version", version,
                "--security-counter", changes.get("counter", "1"),
                "--custom-tlv", "0x00a0", "0x" + board.encode().hex(),
                "--custom-tlv", "0x00a1", "0x" + int(changes.get("revision", "1")).to_bytes(4, "little").hex(),
                "--custom-tlv", "0x00a2", "0x" + name.encode().hex(), *changes.get("extra", "").split(),
                str(payload), str(image))  # fmt: skip
        return image.read_bytes()

    def bootloader(self) -> bytes:
        """The signed bootloader."""
        payload = self.build("bootloader") / "payload.bin"
        return self.sign(payload, "assay-bootloader", "1.0.0", "boot", extra=f"--custom-tlv 0x00a6 {BOOTLOADER_NUMBER}")

    def app(self, version: str, defines: tuple[str, ...] = (), **changes: str) -> bytes:
        """A signed app."""
        payload = self.build("app", version, defines) / "payload.bin"
        return self.sign(payload, "demo-sensor", version, **changes)

    def radio(self, version: str, **changes: str) -> bytes:
        """A signed image for the radio."""
        payload = self.build("radio", version) / "payload.bin"
        changes["extra"] = f"--custom-tlv 0x00a6 0x01000000 {changes.get('extra', '')}"
        return self.sign(payload, "demo-radio", version, "radio_primary", **changes)
