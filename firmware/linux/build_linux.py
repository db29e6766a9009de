# SPDX-License-Identifier: Apache-2.0
"""Builds one part of the Linux image: the boot chooser's script, or the system (kernel, programs, agent).

Guards that the output depends on the declared inputs only, as firmware/build.py does, whose compiler it uses. The
system is one file, as it lies in a slot behind the MCUboot header: a block that tells U-Boot where things are, the
kernel, and an initial RAM file system that holds everything else. Signing and the RAUC bundle are later stages' matter.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
import struct
import sys
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import build as firmware  # noqa: E402  # the compiler, the board's layout, the versions

Files = dict[str, tuple[int, bytes]]  # by path: mode with file type, and content

PAGE = 4096  # bytes in which init reads the factory's archive
BLOCK = 512  # bytes of a disk block, and of the MCUboot header
CORE = ("bytes", "crc", "text", "flash", "slots", "image", "identity", "turn", "handoff", "record_log", "counter",
        "notes", "cbor", "smp_frame", "smp_server", "smp_assay", "smp_identity", "evidence", "serve")  # fmt: skip
BUSYBOX = ("sh", "mount", "umount", "insmod", "ip", "mkdir", "chmod", "sleep", "tar", "dd", "reboot", "sed", "cat",
           "ls", "ps", "sync", "kill", "false", "df", "dmesg", "sha256sum", "rm", "mv", "stat",
           "watchdog")  # fmt: skip
FAULTS = {"LINUX_PANIC=1": "etc/assay-panic", "LINUX_HANG=1": "etc/assay-hang", "LINUX_FREEZE=1": "etc/assay-freeze"}
GZIP_LEVEL = 4  # a quarter of the time of 9, and 4 % more bytes
CONFIRM_WITHIN = "LINUX_CONFIRM_WITHIN_S="  # seconds, for a test that does not want to wait for init's three minutes
PACKET_MAX = 32768  # bytes of an SMP packet: an SSH channel carries more at once than a UART
SCRIPT_NAME = b"assay boot chooser"
LEGACY_MAGIC, OS_LINUX, ARCH_ARM64, TYPE_SCRIPT = 0x27051956, 5, 22, 6  # U-Boot, include/image.h


@dataclass(frozen=True)
class Order:
    """What is to be built."""

    part: str
    request: firmware.Request
    base: Path


def blocks(size: int) -> int:
    """Disk blocks that hold `size` bytes."""
    return -(-size // BLOCK)


def board_values(board: dict[str, Any]) -> dict[str, str]:
    """What templates say in @NAME@: addresses in hexadecimal without a prefix, as U-Boot reads them."""
    ram, areas = board["ram"], board["flash"]["areas"]
    values = {"BOARD": board["name"]}
    names = (("WORK", "work"), ("KERNEL", "app"), ("INITRD", "initrd"), ("FDT", "fdt"), ("HANDOFF", "handoff"))
    for name, key in names:
        values[name] = f"{ram[key]['base']:x}"
    values["HANDOFF_BOOTS"] = f"{ram['handoff']['base'] + 4:x}"
    values["HANDOFF_SIZE"] = f"{ram['handoff']['size']:x}"
    for name, key in (("STATUS_LBA", "status"), ("A_LBA", "primary"), ("B_LBA", "secondary")):
        values[name] = f"{areas[key]['offset'] // BLOCK:x}"
    return values


def filled(template: str, values: dict[str, str]) -> str:
    """`template` with the values."""
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    if "@" in template.replace("@libssh.org", "").replace("@openssh.com", ""):
        raise firmware.BuildError("a template asks for what the board does not tell")
    return template


def boot_script(board: dict[str, Any]) -> bytes:
    """boot.cmd as U-Boot's `source` takes it: a legacy image of type script, made at the epoch."""
    text = filled((HERE / "boot" / "boot.cmd.in").read_text(encoding="ascii"), board_values(board)).encode("ascii")
    body = struct.pack(">II", len(text), 0) + text

    def header(crc: int) -> bytes:
        return struct.pack(">IIIIIIIBBBB32s", LEGACY_MAGIC, crc, 0, len(body), 0, 0, zlib.crc32(body),
                           OS_LINUX, ARCH_ARM64, TYPE_SCRIPT, 0, SCRIPT_NAME)  # fmt: skip

    return header(zlib.crc32(header(0))) + body


def agent(order: Order) -> bytes:
    """The unit's agent, for the C library of the packages; the compiler brings what it links against."""
    request = order.request
    library = firmware.crypto_library(request)
    chain = request.board["toolchain"]
    with tempfile.TemporaryDirectory(dir=request.out, prefix=".agent-") as folder:
        work = Path(folder)
        (work / "board_layout.h").write_text(firmware.layout_header(request.board), encoding="ascii")
        sources = sorted([*(HERE / "agent").glob("*.c"), HERE.parent / "app" / "selftest.c",
                          *(HERE.parent / "core" / f"{name}.c" for name in CORE)])  # fmt: skip
        includes = [HERE / "agent", HERE.parent / "core" / "include", HERE.parent / "crypto" / "include",
                    HERE.parent / "app", work]  # fmt: skip
        defines = ['-DEVIDENCE_HOW="recomputed"', f"-DSMP_PACKET_MAX={PACKET_MAX}u", f'-DMODULE_NAME="{request.name}"',
                   f'-DMODULE_VERSION="{firmware.version_text(request.version)}"']  # fmt: skip
        program = work / "assay-unit"
        firmware.run(
            [*request.zig, "cc", "-target", chain["zig_target"], f"-mcpu={chain['zig_cpu']}", "-std=c11", "-O2", "-g0",
             "-s", "-fno-sanitize=undefined", *firmware.WARNINGS,
             f"-ffile-prefix-map={HERE.parent}=.", f"-ffile-prefix-map={work}=.",
             *(f"-I{path}" for path in includes), *defines,
             *(f"-D{define}" for define in request.defines if not define.startswith("LINUX_")),
             *(str(path) for path in sources), str(library), "-Wl,--build-id=none", "-o", str(program)],
            request,
        )  # fmt: skip
        return program.read_bytes()


def cpio(files: Files) -> bytes:
    """The files (mode with type, content) as a newc archive with nothing of this machine in it."""
    out = io.BytesIO()
    for number, name in enumerate([*sorted(files), "TRAILER!!!"], start=1):
        mode, data = files.get(name, (0, b""))
        raw = name.encode() + b"\0"
        device = (5, 1) if name == "dev/console" else (0, 0)
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        out.write(b"\0" * (-out.tell() % 4) + data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def packaged(base: Path) -> Files:
    """What the packages bring."""
    with tarfile.open(base / "root.tar") as tar:
        contents = ((member, tar.extractfile(member)) for member in tar)
        return {member.name: (0o100000 | member.mode, file.read()) for member, file in contents if file is not None}


def overlay(board: dict[str, Any]) -> Files:
    """What is our own: init, and configuration that knows the board."""
    values, folder, files = board_values(board), HERE / "overlay", Files()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        files[name] = (0o100755 if name == "init" else 0o100644, filled(path.read_text(), values).encode())
    areas = board["flash"]["areas"]
    first, count = (areas["factory"][key] // PAGE for key in ("offset", "size"))
    files["etc/assay-board"] = (0o100644, f"FACTORY_AT={first}\nFACTORY_COUNT={count}\n".encode())
    files["etc/fw_env.config"] = (0o100644, f"/dev/vda {areas['status']['offset']:#x} 0x200\n".encode())
    return files


def root_files(order: Order) -> Files:
    """Everything of the running system."""
    files = packaged(order.base) | overlay(order.request.board)
    files["usr/bin/assay-unit"] = (0o100755, agent(order))
    for name in BUSYBOX:
        files[f"bin/{name}"] = (0o120777, b"busybox")
    for define, name in FAULTS.items():
        if define in order.request.defines:
            files[name] = (0o100644, b"")
    for define in order.request.defines:
        if define.startswith(CONFIRM_WITHIN):
            files["etc/assay-confirm-within"] = (0o100644, define.removeprefix(CONFIRM_WITHIN).encode() + b"\n")
    files["var/lock"] = (0o120777, b"../run/lock")
    files["var/run"] = (0o120777, b"../run")
    files["dev/console"] = (0o020600, b"")
    for name in list(files):
        for folder in Path(name).parents:
            if str(folder) != ".":
                files.setdefault(folder.as_posix(), (0o040755, b""))
    for name in ("proc", "sys", "run", "tmp", "data", "root", "mnt"):
        files[name] = (0o040755, b"")
    return files


def system(order: Order) -> bytes:
    """Where things are, kernel, initial RAM file system; each from a block on."""
    kernel = (order.base / "vmlinuz").read_bytes()
    initrd = gzip.compress(cpio(root_files(order)), GZIP_LEVEL, mtime=0)
    k_count, i_count = blocks(len(kernel)), blocks(len(initrd))
    words = {"k_at": 1, "k_count": k_count, "i_at": 1 + k_count, "i_count": i_count, "i_size": len(initrd)}
    head = "".join(f"{name}={value:x}\n" for name, value in words.items()).encode("ascii")
    parts = (head, kernel, initrd)
    return b"".join(part + b"\0" * (-len(part) % BLOCK) for part in parts)


def build(order: Order) -> dict[str, str]:
    """Builds `payload.bin` in the output folder."""
    request = order.request
    for folder in (request.out, request.cache):
        folder.mkdir(parents=True, exist_ok=True)
    payload = boot_script(request.board) if order.part == "boot" else system(order)
    made = request.out / "payload.bin"
    made.write_bytes(payload)
    made.chmod(0o644)
    if order.part == "system":
        shutil.copyfile(order.base / "packages.txt", request.out / "packages.txt")
        (request.out / "packages.txt").chmod(0o644)
    return {path.name: str(path) for path in sorted(request.out.iterdir()) if path.is_file()}


def parse(arguments: list[str]) -> Order:
    """Reads the command line; wrong values raise BuildError."""
    parser = argparse.ArgumentParser(description="Build one part of the Linux image for one board.")
    parser.add_argument("--part", required=True, choices=("boot", "system"))
    parser.add_argument("--base", type=Path, default=HERE.parent.parent / "linux-base", help="what fetch_base.py left")
    for name in ("--board-toml", "--out", "--cache", "--version", "--name"):
        parser.add_argument(name, required=name in ("--board-toml", "--out", "--version"))
    parser.add_argument("--define", action="append", default=[])
    given = parser.parse_args(arguments)
    words = ["--part", "radio", "--board-toml", given.board_toml, "--out", given.out, "--version", given.version]
    words += ["--name", given.name or f"assay-linux-{given.part}"]
    words += ["--cache", given.cache] if given.cache else []
    for define in given.define:
        words += ["--define", define]
    if given.part == "system" and not (given.base / "root.tar").exists():
        raise firmware.BuildError(f"{given.base} holds no packages: run firmware/linux/fetch_base.py first")
    return Order(given.part, firmware.parse(words), given.base)


def main(arguments: list[str]) -> int:
    """Exit status 0 and one JSON line on success; 1 and the reason on stderr if not."""
    try:
        made = build(parse(arguments))
    except firmware.BuildError as error:
        print(f"build_linux.py: {error}", file=sys.stderr)
        return 1
    except (KeyError, OSError) as error:
        print(f"build_linux.py: {error!r}", file=sys.stderr)
        return 1
    print(json.dumps({"files": made}, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
