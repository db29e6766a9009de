# SPDX-License-Identifier: Apache-2.0
"""MCUboot's own `imgtool`, run as a program of this Python environment, without any private key.

Guards: names go in as bytes, so that a board called `0x12` is not taken for a number; both passes get the same
parameters. Leaves to others: believing the result (`formats.mcuboot_image` reads it again).
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

from assay.backends.stores.result_folder import owner, remove_leftovers
from assay.errors import InfrastructureError, StorageError, ToolMissing, UnitFailed
from assay.model.image_parameters import HEADER_SIZE, ImageParameters, Tlv

IMGTOOL_TIMEOUT_S = 60.0
"""Seconds for one pass; it takes a third of one."""

SCRATCH = "assay-image-"
"""Begin of the names of the folders in which imgtool runs; the process id follows, so that a killed one is known."""

SWAP_ALIGNMENT = 8
"""Bytes; MCUboot's BOOT_MAX_ALIGN where flash is written in smaller units."""

_TOO_LARGE = ("exceeds requested size", "overlaps image")


class ImgtoolProgram:
    """Implements `interfaces.image_tool.ImageTool`."""

    def bytes_to_sign(self, payload: bytes, parameters: ImageParameters) -> bytes:
        """The image hash."""
        return _run(payload, parameters, ["--vector-to-sign", "digest"], {})

    def with_signature(self, payload: bytes, parameters: ImageParameters, signature: bytes, public_pem: str) -> bytes:
        """The signed image."""
        files = {"signature": base64.b64encode(signature), "public.pem": public_pem.encode()}
        return _run(payload, parameters, ["--fix-sig", "signature", "--fix-sig-pubkey", "public.pem"], files)


def arguments(parameters: ImageParameters) -> list[str]:
    """The arguments that both passes share."""
    tlvs: tuple[tuple[Tlv, bytes], ...] = (
        (Tlv.BOARD, parameters.board.encode()),
        (Tlv.MIN_REVISION, parameters.min_revision.to_bytes(4, "little")),
        (Tlv.NAME, parameters.name.encode()),
    )
    if parameters.image_number:
        tlvs += ((Tlv.IMAGE_NUMBER, parameters.image_number.to_bytes(4, "little")),)
    patch = parameters.patch
    if patch is not None:
        number = patch.format.to_bytes(4, "little")
        tlvs += ((Tlv.PATCH_BASE, patch.base_hash), (Tlv.PATCH_GIVES, patch.gives_hash), (Tlv.PATCH_FORMAT, number))
    return [
        *(() if patch is None else ("--non-bootable",)),
        *("--header-size", hex(HEADER_SIZE), "--pad-header", "--sha", "256"),
        *("--version", parameters.version, "--security-counter", str(parameters.security_counter)),
        *("--slot-size", hex(parameters.slot_size), "--align", str(parameters.alignment)),
        *("--max-align", str(max(parameters.alignment, SWAP_ALIGNMENT))),
        *(part for tlv, value in tlvs for part in ("--custom-tlv", f"{tlv:#06x}", f"0x{value.hex()}")),
    ]


def _run(payload: bytes, parameters: ImageParameters, extra: list[str], files: dict[str, bytes]) -> bytes:
    try:
        remove_leftovers(Path(tempfile.gettempdir()), SCRATCH)
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{owner()}-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            for name, data in {**files, "payload.bin": payload}.items():
                (folder / name).write_bytes(data)
            _call([*arguments(parameters), *extra, "payload.bin", "image.bin"], folder)
            return (folder / "image.bin").read_bytes()
    except OSError as error:
        raise StorageError(f"no room to sign: {error.strerror}", remedy="free disk space, or set TMPDIR") from error


def _call(words: list[str], folder: Path) -> None:
    # -P: a folder named `imgtool` where the verb was called must not be taken for the package.
    command = [sys.executable, "-P", "-m", "imgtool.main", "sign", *words]
    environment = {"PATH": "", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=IMGTOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError("imgtool did not end", remedy="try again on a machine with less load") from error
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    if "No module named" in said:
        raise ToolMissing("imgtool is not installed", remedy=f"{sys.executable} -m pip install imgtool")
    if any(words in said for words in _TOO_LARGE):
        raise UnitFailed(f"the image does not fit its slot: {said.splitlines()[-1]}", remedy="make the payload smaller")
    raise InfrastructureError(f"imgtool failed: {said[-500:]}", remedy="report this with the artifact")
