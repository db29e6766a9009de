# SPDX-License-Identifier: Apache-2.0
"""Fetches what the Linux image is made of from Debian: kernel, modules and programs for arm64, into `linux-base/`.

Run once before `assay build`, by somebody who may use the network; nothing here needs root. The mirror is the one that
this machine's apt is configured for, unless `--mirror` names another. What lies there afterwards is a declared
input of the build: its digest is in the provenance of every image made from it. Only what the image needs is kept: the
programs below, the libraries that they load, and the kernel modules with those that they depend on.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import unquote

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
PACKAGES = ("linux-image-arm64", "busybox-static", "rauc", "rauc-service", "dbus-daemon", "openssh-server",
            "libubootenv-tool", "e2fsprogs")  # fmt: skip
PROGRAMS = ("bin/busybox", "usr/bin/rauc", "usr/bin/dbus-daemon", "usr/sbin/sshd", "usr/bin/fw_printenv",
            "usr/bin/fw_setenv", "sbin/mke2fs", "sbin/e2fsck")  # fmt: skip
FILES = ("usr/share/dbus-1/system.conf", "usr/share/dbus-1/system.d/de.pengutronix.rauc.conf",
         "etc/mke2fs.conf")  # fmt: skip
MODULES = ("virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "loop", "squashfs", "dm_verity",
           "sha2_ce", "sha256_arm64", "crc32c_generic", "ext4", "i6300esb")  # fmt: skip
NEEDED = ("virtio_mmio", "virtio_blk", "virtio_net", "loop", "squashfs", "dm_verity", "ext4", "i6300esb")
LIBRARY_FOLDERS = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu/systemd",
                   "lib/systemd")  # fmt: skip
EPOCH_S = 0  # modification time of everything
WANTED = "".join(f"{word}\n" for word in (SUITE, *PACKAGES, *PROGRAMS, *FILES, *MODULES))
WANTED_FILE = "wanted.txt"  # in `linux-base/`: what was asked for when that was fetched


class FetchError(Exception):
    """It could not be fetched; the text says why."""


def fetch(folder: Path, mirror: str | None) -> Path:
    """The unpacked packages; mmdebstrap runs no program of theirs."""
    if shutil.which("mmdebstrap") is None:
        raise FetchError("mmdebstrap is not installed: apt-get install mmdebstrap")
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64", f"--include={','.join(PACKAGES)}",
               f'--extract-hook=ls "$1/var/cache/apt/archives" > {shlex.quote(str(folder / "archives.txt"))}', SUITE,
               str(folder / "base.tar"), *([mirror] if mirror else [])]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise FetchError(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
    root = folder / "root"
    with tarfile.open(folder / "base.tar") as tar:
        tar.extractall(root, filter=_no_devices)  # noqa: S202  # the filter is ours: no devices
    return root


def _no_devices(member: tarfile.TarInfo, _path: str) -> tarfile.TarInfo | None:
    return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None


def needed(path: Path) -> list[str]:
    """Names of the libraries that an ELF64 file loads, and of its interpreter."""
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return []
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, start + i * size) for i in range(count)]
    found = [data[h[2] : h[2] + h[5] - 1].decode() for h in headers if h[0] == 3]
    loads = [(h[3], h[2], h[5]) for h in headers if h[0] == 1]

    def at(address: int) -> int:
        return next(offset + address - base for base, offset, length in loads if base <= address < base + length)

    for dynamic in (h for h in headers if h[0] == 2):
        entries = list(struct.iter_unpack("<QQ", data[dynamic[2] : dynamic[2] + dynamic[5] // 16 * 16]))
        strings = at(next(value for tag, value in entries if tag == 5))
        for tag, value in entries:
            if tag == 1:
                end = data.index(b"\0", strings + value)
                found.append(data[strings + value : end].decode())
    return found


def resolve(root: Path, name: str) -> tuple[str, Path]:
    """Where a file is in the image, and the file with its links followed inside `root`."""
    path = root / name
    for _ in range(8):
        if not path.is_symlink():
            break
        target = str(path.readlink())
        path = root / target.lstrip("/") if target.startswith("/") else path.parent / target
    if not path.is_file():
        raise FetchError(f"{name} is not in the packages")
    return name, path


def closure(root: Path) -> dict[str, bytes]:
    """The programs with all libraries that they load; libraries lie where the loader looks."""
    files: dict[str, bytes] = {}
    to_load = [resolve(root, name) for name in PROGRAMS]
    while to_load:
        name, path = to_load.pop()
        if name in files:
            continue
        files[name] = path.read_bytes()
        for library in needed(path):
            if library.startswith("/"):
                to_load.append(resolve(root, library.lstrip("/")))
                continue
            folder = next((f for f in LIBRARY_FOLDERS if (root / f / library).exists()), None)
            if folder is None:
                raise FetchError(f"{name} loads {library}, which is in no package")
            at = f"usr/lib/aarch64-linux-gnu/{library}"
            to_load.append((at, resolve(root, f"{folder}/{library}")[1]))
    return files


def modules(root: Path) -> tuple[str, dict[str, bytes]]:
    """The kernel's version, and the modules in the order in which they can be loaded."""
    folder = next((root / "lib/modules").iterdir())
    known = {path.stem.replace("-", "_"): path for path in sorted(folder.rglob("*.ko"))}
    built_in = (folder / "modules.builtin").read_text()
    files: dict[str, bytes] = {}

    def take(name: str) -> None:
        path = known.get(name.replace("-", "_"))
        if path is None:
            return  # built in, or another name of one that is in the list
        data = path.read_bytes()
        says = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in says[1].decode().split(",") if says and says[1] else []:
            take(other)
        files.setdefault(f"lib/modules/{path.name}", data)

    for name in MODULES:
        take(name)
    taken = {Path(name).stem.replace("-", "_") for name in files}
    for name in NEEDED:
        if name not in taken and f"/{name}.ko" not in built_in.replace("-", "_"):
            raise FetchError(f"the kernel has no {name}")
    return folder.name, files


def archive(files: dict[str, bytes], executable: set[str]) -> bytes:
    """A tar of the files, the same bytes for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(files[name]), EPOCH_S, 0o755 if name in executable else 0o644
            tar.addfile(member, io.BytesIO(files[name]))
    return out.getvalue()


def keep(root: Path, out: Path) -> None:
    """Write what the image needs to `out`, whole or not at all."""
    programs, (version, kernel_modules) = closure(root), modules(root)
    files = programs | kernel_modules | {name: resolve(root, name)[1].read_bytes() for name in FILES}
    files["etc/modules"] = "".join(f"/{name}\n" for name in kernel_modules).encode()
    archives = (root.parent / "archives.txt").read_text().split()
    packages = sorted(" ".join(unquote(name).split("_")[:2]) for name in archives if name.endswith(".deb"))
    if not packages:
        raise FetchError("mmdebstrap does not tell which packages it took")
    fresh = Path(tempfile.mkdtemp(prefix=".base-", dir=out.parent))
    (fresh / "root.tar").write_bytes(archive(files, set(programs)))
    shutil.copyfile(root / f"boot/vmlinuz-{version}", fresh / "vmlinuz")
    (fresh / "packages.txt").write_text("".join(f"{line}\n" for line in packages))
    (fresh / WANTED_FILE).write_text(WANTED)
    fresh.chmod(0o755)
    if out.exists():
        shutil.rmtree(out)
    fresh.replace(out)


def main() -> int:
    """0, or 1 and the reason on stderr."""
    parser = argparse.ArgumentParser(description="Fetch the Debian packages of the Linux image.")
    parser.add_argument("--out", type=Path, default=HERE.parent.parent / "linux-base")
    parser.add_argument("--mirror", help="of Debian; default: as apt is configured")
    parser.add_argument("--once", action="store_true", help="nothing if what is wanted was fetched before")
    given = parser.parse_args()
    before = given.out / WANTED_FILE
    if given.once and before.exists() and before.read_text() == WANTED:
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="assay-base-") as folder:
            keep(fetch(Path(folder), given.mirror), given.out.resolve())
    except (FetchError, OSError) as error:
        print(f"fetch_base.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
