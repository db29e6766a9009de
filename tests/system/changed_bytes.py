# SPDX-License-Identifier: Apache-2.0
"""One byte changed in every file that a run leaves, one file at a time: `nox -s changed`; a sample runs with the tests.

Every file of a site is of a kind below. Of what records rest on, `assay trace` refuses a changed byte with status 4;
what outlives keys it tells, and refuses it once a record needs it; of the rest it says the same as before, which is why
it is no evidence (docs/reference/trace).

    python tests/system/changed_bytes.py                             the demo is run first, in a folder of its own
    python tests/system/changed_bytes.py --site .assay --trust TRUST --serial SERIAL [--flips 8]
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from click.testing import CliRunner

from assay.cli.trace import command
from assay.cli.verify import command as verify

COVERED = (
    "log/checkpoint",
    "log/tile/*",
    "records/*.json",
    "attachments/*",
    "store/oci-layout",
    "store/index.json",
    "store/blobs/*",
    "device-ca/*.der",
    "device-ca/*.pem",
)
"""What records rest on, as patterns of paths in a site; `*` passes over folders, too."""

TOLD = {
    "stamps/*": "told by `assay trace`, and refused where a record needs it: an archive stamp of a key that ended",
}
"""What no record rests on yet, and what is said of it then."""

NO_EVIDENCE = {
    "keys/*": "private keys: a changed one signs no more, and what it signed verifies with the trust file",
    "log/cosigned/*": "what witnesses signed: `assay log verify --witness` refuses a changed one",
    "log-queue/*": "statements on their way into the log of others; each is verified before it is sent",
    "imports/*": "how far a log was seen: a bundle of another history is refused",
    "incoming/*": "what is downloaded, and counts once it is whole and verified",
    "repositories/*": "signed metadata of TUF, verified each time it is used",
    "roots/*": "signed metadata of TUF, verified each time it is used",
    "witness.sqlite*": "what this site cosigned for others; each line is signed by itself",
    "keyless.toml": "how this site signs; what it signed verifies with the trust file",
    "keyless_root.json": "whom this site asks to certify; every bundle is verified by a trust file",
    "trust_config.json": "which services this site uses; every bundle is verified by a trust file",
    "rauc/*": "certificates for bundles; units have the keyring built in",
    "outbox.sqlite*": "statements on their way into the log; the log is the truth",
    "journal.sqlite*": "the state of runs; what they led to is in the log",
    "serials.sqlite*": "which serial number is the next; those that were given are in the log",
    "run-locks/*": "who is at work",
    "*.lock": "who is at work",
    "device-ca/lock": "who is at work",
    "policy/*": "copies of packs; one counts with the digest that was adopted only",
    "cache/*": "can be made again, and is compared with its digest when it is used",
    "twins/*": "the flash of an emulated chip: ask the unit, its bootloader verifies what it starts",
}
"""What no record rests on, and why."""


FEW = 50
"""Files of a kind: of more that are no evidence, as those of a cache, one byte of each is changed."""


EXPORT_FLIPS = 100


@dataclass
class Used:
    """A site that was used, whom to trust, and a unit of it. `traces`: how often it was asked for."""

    site: Path
    trust: Path
    serial: str
    traces: int = 0

    def traced(self) -> tuple[int, str]:
        """Status and output of `assay trace`."""
        options = ["--site", str(self.site), "--trust", str(self.trust), "--brief"]
        self.traces += 1
        result = CliRunner().invoke(command, [self.serial, *options])
        return result.exit_code, result.output

    def kinds(self) -> dict[str, list[Path]]:
        """The files of each kind. Raises `LookupError` for a file that is of no kind."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.site.rglob("*")):
            if path.is_file() and path.stat().st_size:
                found.setdefault(_kind(str(path.relative_to(self.site))), []).append(path)
        return found


def _kind(name: str) -> str:
    for pattern in (*COVERED, *TOLD, *NO_EVIDENCE):
        if fnmatchcase(name, pattern):
            return pattern
    raise LookupError(f"nobody says what a changed byte in {name} does")


def faults(used: Used, dice: random.Random, *, flips: int, sample: int | None = None) -> Iterator[str]:
    """What is not as it should be. `sample`: so many files of each kind, else all."""
    said = used.traced()
    if said[0] != 0:
        yield f"nothing was changed, and the status is {said[0]}: {said[1]}"
    for kind, files in used.kinds().items():
        for path in files if sample is None else dice.sample(files, min(sample, len(files))):
            for _ in range(1 if sample is None and kind in NO_EVIDENCE and len(files) > FEW else flips):
                yield from changed(used, path, dice, refused=kind in COVERED, told=said[1] if kind in TOLD else None)
    if used.traced() != said:
        yield "everything is as it was, and trace says something else"


def changed(used: Used, path: Path, dice: random.Random, *, refused: bool, told: str | None = None) -> Iterator[str]:
    """The fault, if a changed bit of the file at `path` is not `refused`, or is and should not be. `told`: what was
    said before, and must not be said any more.
    """
    good = path.read_bytes()
    place, bit = dice.randrange(len(good)), dice.randrange(8)
    path.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
    status, output = used.traced()
    path.write_bytes(good)
    if status != (4 if refused else 0) or "Traceback" in output or output == told:
        yield f"{path.relative_to(used.site)}, bit {bit} of byte {place}: status {status}\n{output}"


def taken_away(used: Used, folder: Path, dice: random.Random, *, flips: int) -> Iterator[str]:
    """The same for what leaves the site: the export, which is refused, and the trust file, which is, or cannot be read
    any more (its seal tells accidents).
    """
    export, trust = folder / "export", folder / "trust.toml"
    shutil.copy(used.trust, trust)
    exported = CliRunner().invoke(
        command, [used.serial, "--site", str(used.site), "--trust", str(trust), "--export", str(export)]
    )
    if exported.exit_code != 0:
        yield f"nothing was changed, and the export gives {exported.exit_code}: {exported.output}"
    for path, right in ((export, (4,)), (trust, (2, 4))):
        good = path.read_bytes()
        for place in dice.sample(range(len(good)), flips):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << dice.randrange(8)]) + good[place + 1 :])
            said = CliRunner().invoke(verify, [str(export), "--trust", str(trust)])
            if said.exit_code not in right or "Traceback" in said.output:
                yield f"{path.name}, byte {place}: status {said.exit_code}\n{said.output}"
        path.write_bytes(good)
    if CliRunner().invoke(verify, [str(export), "--trust", str(trust)]).exit_code != 0:
        yield "everything is as it was, and the export is refused"


def demo(folder: Path) -> Used:
    """The main job, in a copy of the project in `folder`; takes minutes."""
    from demo_project import DemoProject

    project = DemoProject.make(folder / "project")
    status, answer = project.run(*project.demo_words(board="ast1030-evb", fixed=False))
    if status != 0:
        raise SystemExit(f"the demo gives {status}: {answer}")
    results = project.root / answer["results"]
    return Used(project.site.folder, results / "trust.toml", answer["variables"]["serial"])


def main() -> int:
    """Status 1 when a changed byte does what it should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, help="a site that was used; a copy of it is changed")
    parser.add_argument("--trust", type=Path)
    parser.add_argument("--serial")
    parser.add_argument("--flips", type=int, default=4, help="bytes changed in each file [4]")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-changed-") as name:
        folder = Path(name)
        if asked.site is None:
            used = demo(folder)
        else:
            shutil.copytree(asked.site, folder / "site")
            used = Used(folder / "site", asked.trust, asked.serial)
        found = list(faults(used, random.Random(asked.seed), flips=asked.flips))
        found += taken_away(used, folder, random.Random(asked.seed), flips=EXPORT_FLIPS)
        for kind, files in used.kinds().items():
            print(f"{kind:<20} {len(files):>5} files: {(TOLD | NO_EVIDENCE).get(kind, 'refused')}")
        print(f"{EXPORT_FLIPS} bytes each of the export and the trust file: refused")
        print(f"{sum(map(len, used.kinds().values()))} files, {used.traces} traces")
    print(*found, f"{len(found)} faults", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
