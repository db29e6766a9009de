# SPDX-License-Identifier: Apache-2.0
"""Builds one part of the reference firmware for one board: flat payload and stripped ELF.

Guards that the output depends on the declared inputs only: no path, user, time or locale gets into it. It needs no
network and writes to `--out` and `--cache` alone. Signing and the MCUboot header are left to the signing stage.
Plain standard library, since it runs inside the build sandbox.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HEADER_SIZE = 0x200  # bytes of the MCUboot header that precede the payload of bootloader and app
STACK_SIZE = {"rom": 0x4000, "bootloader": 0x8000, "app": 0x8000}  # bytes; Ed25519 needs 7 KiB
RAM_OF_PART = {"rom": "rom", "bootloader": "boot", "app": "app"}
PARTS = (*RAM_OF_PART, "radio")
RADIO_AREAS = ("radio_primary", "radio_secondary")
ED25519_SPKI_HEAD = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: DER before the 32 bytes of the key
AREAS = ("boot", "primary", "secondary", "scratch", "status", "counters", "notes", "identity", "otp")
AREAS_OPTIONAL = ("patch", *RADIO_AREAS)  # of size 0 where the board has none
RAM_AREAS = ("rom", "boot", "app", "handoff", "work")
DEFINE = re.compile(r"[A-Z][A-Z0-9_]*(=[0-9]+)?")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")
VERSION = re.compile(r"([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,5})(?:\+([0-9]{1,10}))?")
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wundef", "-Werror")
CODE_FLAGS = ("-std=c11", "-Os", "-g0", "-ffreestanding", "-fno-common", "-ffunction-sections", "-fdata-sections",
              "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")  # fmt: skip
LINK_FLAGS = ("-nostdlib", "-static", "-s", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096")

# What each part is made of, besides its own folder and the port. Unused functions are dropped by the linker.
CORE = ("bytes", "crc", "text", "flash", "slots", "image", "identity", "turn", "handoff")
CORE_OF_PART = {
    "rom": ("xmodem", "rom_loader"),
    "bootloader": ("record_log", "counter", "notes", "trailer", "boot_table", "group", "swap", "boot", "patch",
                   "heatshrink", "delta", "delta_stream", "delta_apply", "cbor", "smp_frame", "smp_server", "upload",
                   "upload_record", "smp_image", "smp_assay", "serve"),
    "app": ("record_log", "counter", "notes", "trailer", "boot_table", "group", "patch", "cbor", "smp_frame",
            "smp_server", "upload", "upload_record", "smp_image", "smp_assay", "smp_identity", "evidence", "serve"),
}  # fmt: skip


class BuildError(Exception):
    """The build cannot be done as asked, or a tool failed; the text says why."""


@dataclass(frozen=True)
class Request:
    """What is to be built, as the command line says it."""

    part: str
    board: dict[str, Any]
    out: Path
    cache: Path
    version: str
    name: str
    defines: tuple[str, ...]
    public_key: bytes | None
    compiler: str
    zig: tuple[str, ...]
    symbols: bool = False


def read_public_key(text: str) -> bytes:
    """Takes 64 hex digits, or a file with a PEM SubjectPublicKeyInfo of an Ed25519 key; gives the 32 bytes."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    try:
        lines = Path(text).read_text(encoding="ascii").split("-----")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"--image-pubkey: cannot read {text}: {error}") from error
    if len(lines) < 3 or lines[1] != "BEGIN PUBLIC KEY":
        raise BuildError(f"--image-pubkey: {text} holds no PEM public key")
    der = base64.b64decode(lines[2])
    if len(der) != 44 or not der.startswith(ED25519_SPKI_HEAD):
        raise BuildError(f"--image-pubkey: {text} is not an Ed25519 public key")
    return der[-32:]


def check_apart(what: str, ranges: list[tuple[int, int, str]]) -> None:
    """Ranges (start, size, name) that share a byte would overwrite each other: refused."""
    for (start, size, name), (following, _, other) in zip(sorted(ranges), sorted(ranges)[1:], strict=False):
        if start + size > following:
            raise BuildError(f"the board's {what} {name} and {other} overlap")


def layout_header(board: dict[str, Any]) -> str:
    """The board's TOML as C constants."""
    flash, ram = board["flash"], board["ram"]
    check_apart("flash areas", [(area["offset"], area["size"], name) for name, area in flash["areas"].items()])
    check_apart("RAM ranges", [(area["base"], area["size"], name) for name, area in ram.items()])
    lines = ["// Made by build.py from the board's TOML.", "#ifndef BOARD_LAYOUT_H", "#define BOARD_LAYOUT_H",
             f'#define BOARD_NAME "{board["name"]}"', f"#define BOARD_REVISION {board['revision']}u",
             f"#define FLASH_SIZE {flash['size']:#x}u", f"#define FLASH_ERASE_SIZE {flash['erase_size']:#x}u",
             f"#define FLASH_PROGRAM_SIZE {flash['program_size']:#x}u",
             f"#define FLASH_WRITE_SIZE {flash['write_alignment']}u",
             f"#define FLASH_ERASED {flash['erased_value']:#04x}u",
             f"#define SERIAL_BAUD {board['serial']['baud']}u"]  # fmt: skip
    for name in (*AREAS, *AREAS_OPTIONAL):
        area = flash["areas"][name] if name in AREAS else flash["areas"].get(name, {"offset": 0, "size": 0})
        lines.append(f"#define AREA_{name.upper()}_OFFSET {area['offset']:#x}u")
        lines.append(f"#define AREA_{name.upper()}_SIZE {area['size']:#x}u")
    lines.append(f"#define IMAGE_COUNT {2 if 'radio_primary' in flash['areas'] else 1}u")
    for name in RAM_AREAS:
        lines.append(f"#define RAM_{name.upper()}_BASE {ram[name]['base']:#x}u")
        lines.append(f"#define RAM_{name.upper()}_SIZE {ram[name]['size']:#x}u")
    return "\n".join([*lines, "#endif", ""])


def pubkey_header(key: bytes) -> str:
    """The key that the bootloader accepts, as a C array."""
    numbers = ", ".join(f"0x{byte:02X}" for byte in key)
    origin = "// Made by build.py from the declared public key."
    return f"{origin}\nstatic const uint8_t image_pubkey[32] = {{{numbers}}};\n"


def radio_linker_script(request: Request) -> str:
    """The radio has memory of its own from address 0 on: as much as its slot holds."""
    areas, erase_size = request.board["flash"]["areas"], request.board["flash"]["erase_size"]
    if not all(name in areas for name in RADIO_AREAS):
        raise BuildError(f"the board {request.board['name']} has no radio: no flash area {' and '.join(RADIO_AREAS)}")
    room = min(areas[name]["size"] for name in RADIO_AREAS) - erase_size - HEADER_SIZE
    template = (HERE / "radio" / "part.ld.in").read_text(encoding="ascii")
    return template.replace("@LOAD@", "0x0").replace("@LOAD_SIZE@", f"{room:#x}")


def linker_script(request: Request) -> str:
    """The port's template with the addresses of this part. A ROM holds no variables with a start value."""
    if request.part == "radio":
        return radio_linker_script(request)
    ram = request.board["ram"]
    area = ram[RAM_OF_PART[request.part]]
    skip = 0 if request.part == "rom" else HEADER_SIZE
    values = {
        "LOAD": f"{area['base'] + skip:#x}",
        "LOAD_SIZE": f"{area['size'] - skip:#x}",
        "WORK": f"{ram['work']['base']:#x}",
        "WORK_SIZE": f"{ram['work']['size']:#x}",
        "STACK": f"{STACK_SIZE[request.part]:#x}",
        "ASSERT": 'ASSERT(SIZEOF(.data) == 0, "a ROM has no .data")' if request.part == "rom" else "",
    }
    template = (HERE / "port" / request.board["toolchain"]["port"] / "part.ld.in").read_text(encoding="ascii")
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], template)


def run(command: list[str], request: Request) -> None:
    """Runs a tool with an environment that holds nothing of the person who started the build."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": "0",
                   "HOME": str(request.cache), "ZIG_GLOBAL_CACHE_DIR": str(request.cache / "zig"),
                   "ZIG_LOCAL_CACHE_DIR": str(request.cache / "zig"), "TMPDIR": tempfile.gettempdir()}  # fmt: skip
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise BuildError(f"cannot start {command[0]}: {error}") from error
    if done.returncode != 0:
        raise BuildError(f"{shlex.join(command[:4])} … failed:\n{done.stderr or done.stdout}")


def crypto_library(request: Request) -> Path:
    """The Zig static library, made once for each content of source, target and compiler."""
    source = HERE / "crypto" / "crypto.zig"
    chain = request.board["toolchain"]
    flags = ["-target", chain["zig_target"], "-mcpu", chain["zig_cpu"], "-O", "ReleaseSmall", "-static",
             "-fcompiler-rt", "-fstrip", "-fno-unwind-tables", "-ffunction-sections", "-fdata-sections"]  # fmt: skip
    seen = hashlib.sha256("\0".join([*request.zig, *flags]).encode() + source.read_bytes()).hexdigest()
    made = request.cache / "crypto" / f"{chain['port']}-{seen[:32]}.a"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            fresh = Path(folder) / "crypto.a"
            run([*request.zig, "build-lib", str(source), *flags, "--name", "crypto", f"-femit-bin={fresh}"], request)
            fresh.replace(made)
    return made


def sources(request: Request) -> list[Path]:
    """All C files of a part, sorted, so that the link order does not depend on the file system."""
    if request.part == "radio":
        return sorted((HERE / "radio").glob("*.c"))
    port = HERE / "port" / request.board["toolchain"]["port"]
    core = [HERE / "core" / f"{name}.c" for name in (*CORE, *CORE_OF_PART[request.part])]
    shared = [HERE / "port" / "stack.c", HERE / "port" / "ns16550" / "ns16550.c"]
    return sorted([*core, *shared, *port.glob("*.c"), *(HERE / request.part).glob("*.c")])


def version_text(version: str) -> str:
    """`1.2.3+4` as the firmware says it: without a build number of 0."""
    match = VERSION.fullmatch(version)
    assert match is not None  # parse() has checked it
    return f"{match[1]}+{int(match[2])}" if match[2] and int(match[2]) else match[1]


def compile_command(request: Request, work: Path, elf: Path, libraries: list[Path]) -> list[str]:
    """One call that compiles and links, by zig or by gcc."""
    chain = request.board["toolchain"]
    if request.compiler == "zig":
        driver = [*request.zig, "cc", "-target", chain["zig_target"], f"-mcpu={chain['zig_cpu']}"]
    else:
        driver = [f"{chain['gcc_prefix']}gcc", *chain["gcc_flags"]]
    includes = [HERE / "core" / "include", HERE / "crypto" / "include", HERE / "port" / "include",
                HERE / "port" / "ns16550", work]  # fmt: skip
    code, link = list(CODE_FLAGS), list(LINK_FLAGS)
    if request.symbols:
        code[code.index("-g0")] = "-g1"
        link.remove("-s")
    defines = [f'-DMODULE_NAME="{request.name}"', f'-DMODULE_VERSION="{version_text(request.version)}"']
    return [*driver, *code, *WARNINGS, f"-ffile-prefix-map={HERE}=.", f"-ffile-prefix-map={work}=.",
            *(f"-I{path}" for path in includes), *defines, *(f"-D{define}" for define in request.defines),
            *(str(path) for path in sources(request)), *link, "-T", str(work / "part.ld"),
            *(str(library) for library in libraries), "-o", str(elf)]  # fmt: skip


def flat_image(elf: bytes) -> bytes:
    """The bytes of the loadable segments that have content, in address order (ELF32, little-endian)."""
    if elf[:6] != b"\x7fELF\x01\x01":
        raise BuildError("the compiler did not make a 32-bit little-endian ELF file")
    start, size, count = struct.unpack_from("<I", elf, 28)[0], *struct.unpack_from("<HH", elf, 42)
    segments = [struct.unpack_from("<IIIII", elf, start + i * size) for i in range(count)]
    loads = sorted((address, offset, length) for kind, offset, address, _, length in segments if kind == 1 and length)
    if not loads:
        raise BuildError("the ELF file has no content")
    base = loads[0][0]
    end = max(address + length for address, _, length in loads)
    flat = bytearray(b"\xff" * (end - base))
    for address, offset, length in loads:
        flat[address - base : address - base + length] = elf[offset : offset + length]
    return bytes(flat)


def build(request: Request) -> dict[str, str]:
    """Builds into a folder of its own and moves the results to `out` when all of them are there."""
    request.out.mkdir(parents=True, exist_ok=True)
    request.cache.mkdir(parents=True, exist_ok=True)
    libraries = [] if request.part == "radio" else [crypto_library(request)]
    with tempfile.TemporaryDirectory(dir=request.out, prefix=".build-") as folder:
        work = Path(folder)
        (work / "board_layout.h").write_text(layout_header(request.board), encoding="ascii")
        (work / "part.ld").write_text(linker_script(request), encoding="ascii")
        if request.public_key is not None:
            (work / "image_pubkey.h").write_text(pubkey_header(request.public_key), encoding="ascii")
        elf = work / "part.elf"
        run(compile_command(request, work, elf, libraries), request)
        (work / "payload.bin").write_bytes(flat_image(elf.read_bytes()))
        made = {name: str(request.out / name) for name in ("payload.bin", "part.elf")}
        for name, target in made.items():
            (work / name).chmod(0o644)
            (work / name).replace(target)
    return made


def parse(arguments: list[str]) -> Request:
    """Reads the command line; wrong values raise BuildError."""
    parser = argparse.ArgumentParser(description="Build one part of the reference firmware for one board.")
    parser.add_argument("--part", required=True, choices=sorted(PARTS))
    parser.add_argument("--board-toml", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--name")
    parser.add_argument("--define", action="append", default=[])
    parser.add_argument("--image-pubkey", help="Ed25519: PEM file or 64 hex digits; for the bootloader")
    parser.add_argument("--cc", choices=("zig", "gcc"), default="zig")
    parser.add_argument("--symbols", action="store_true", help="leave names in part.elf; payload.bin is the same")
    parser.add_argument("--zig", help="the zig compiler, or a command that is one")
    given = parser.parse_args(arguments)
    name = given.name or f"assay-{given.part}"
    for value, shape, option in ((given.version, VERSION, "--version"), (name, NAME, "--name")):
        if not shape.fullmatch(value):
            raise BuildError(f"{option}: {value!r} is not of the form {shape.pattern}")
    for define in given.define:
        if not DEFINE.fullmatch(define):
            raise BuildError(f"--define: {define!r} is not NAME or NAME=NUMBER")
    if (given.image_pubkey is not None) != (given.part == "bootloader"):
        raise BuildError("--image-pubkey is needed for the bootloader, and for it only")
    out = given.out.resolve()
    return Request(
        part=given.part, board=read_board(given.board_toml), out=out,
        cache=(given.cache or out / ".cache").resolve(), version=given.version, name=name,
        defines=tuple(sorted(given.define)),
        public_key=read_public_key(given.image_pubkey) if given.image_pubkey else None, compiler=given.cc,
        zig=tuple(shlex.split(given.zig)) if given.zig else find_zig(), symbols=given.symbols,
    )  # fmt: skip


def read_board(path: Path) -> dict[str, Any]:
    """The board's TOML, as far as the build needs it; its full check is the manifest stage's."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BuildError(f"--board-toml: {path}: {error}") from error


def find_zig() -> tuple[str, ...]:
    """The zig of this Python's `ziglang` wheel, else the one on the path."""
    wheel = importlib.util.find_spec("ziglang")
    if wheel is not None and wheel.origin is not None:
        return (str(Path(wheel.origin).parent / "zig"),)
    found = shutil.which("zig")
    if found is None:
        raise BuildError("no zig: install the `ziglang` wheel, or name one with --zig")
    return (found,)


def main(arguments: list[str]) -> int:
    """Exit status 0 and one JSON line on success; 1 and the reason on stderr if not."""
    try:
        made = build(parse(arguments))
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"build.py: the board's TOML lacks {error}", file=sys.stderr)
        return 1
    print(json.dumps({"files": made}, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
