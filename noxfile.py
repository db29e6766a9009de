# SPDX-License-Identifier: Apache-2.0
"""Sessions of the house: each installs what it needs, and says which system package is missing.

`./noxw -s demo` runs the main job, `./noxw -s tests` the tests. `./noxw -l` lists the rest.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "layers", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

SOURCES = ("src", "tests", "firmware", "suites", "noxfile.py", "docs")

QEMU_ARM = ("qemu-system-arm", "qemu-system-arm")
QEMU_RISCV = ("qemu-system-riscv32", "qemu-system-misc")
BUBBLEWRAP = ("bwrap", "bubblewrap")
GIT = ("git", "git")
HOST_COMPILER = ("gcc", "gcc")
GCC_ARM = ("arm-none-eabi-gcc", "gcc-arm-none-eabi")
GCC_RISCV = ("riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf")
CLANG_OLDEST = 14
OPENSSL = ("openssl", "openssl")
SOURCE_PACKAGES = (("g++", "g++"), ("python3-config", "python3-dev"))  # detools has no wheel
BENCH_PROGRAMS = (
    ("/usr/sbin/sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("/usr/sbin/dropbear", "dropbear-bin"),
    ("uhubctl", "uhubctl"),
)
FLASH_PROGRAMS = (
    ("openocd", "openocd"),
    ("dfu-util", "dfu-util"),
    ("mcopy", "mtools"),
    ("/usr/sbin/mkfs.vfat", "dosfstools"),
    ("fusefat", "fusefat"),
    ("umockdev-run", "umockdev gir1.2-umockdev-1.0 python3-gi"),
)
QEMU_ARM64 = ("qemu-system-aarch64", "qemu-system-arm")
LINUX_PROGRAMS = (("mksquashfs", "squashfs-tools"), ("rauc", "rauc"), ("/usr/sbin/sfdisk", "fdisk"))
U_BOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
CONTAINER_PROGRAMS = (("podman", "podman"), ("runc", "runc"), ("/bin/busybox", "busybox-static"))
IDS_OF_A_CALLER = ("newuidmap", "uidmap")  # podman of who is not root
DOCKER_ENGINE = ("dockerd", "docker.io")
CARGO = ("/usr/bin/cargo", "cargo")
CRATE = "/usr/share/cargo/registry/fnv-1.0.7"
BUILD_SYSTEMS = (("make", "make"), ("cmake", "cmake"), ("ninja", "ninja-build"))
SOFT_HSM = ("softhsm2-util", "softhsm2")
DOCKER_REGISTRY = ("docker-registry", "docker-registry")
SER2NET = ("/usr/sbin/ser2net", "ser2net")  # labgrid's exporter starts it
FAKETIME = ("faketime", "faketime")
DIFFOSCOPE = ("diffoscope", "diffoscope-minimal")
PROGRAMS_32 = (("/lib/ld-linux.so.2", "libc6-i386"), ("/usr/lib32/libgcc_s.so.1", "lib32gcc-s1"))
LOADER_32 = PROGRAMS_32 if platform.machine() == "x86_64" else ()
"""Other people's Zephyr as programs of this host are programs of 32 bits, whose threads end by libgcc."""
NODE = ("node", "nodejs")
NPM = ("npm", "npm")


def need(session: nox.Session, *programs: tuple[str, str]) -> None:
    """Make sure that `programs` (program or file, Debian packages) are there: install them, else ask, else say how."""
    missing = [name for program, packages in programs if not _is_there(program) for name in packages.split()]
    if not missing:
        return
    root = os.geteuid() == 0
    line = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    line = line if root else ["sudo", *line]
    if shutil.which("apt-get") is None:
        session.error(f"this machine lacks {', '.join(missing)}; install them with its package manager")
    if not _allowed(root, line):
        session.error(f"this machine lacks {', '.join(missing)}; run: {shlex.join(line)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(line, env=environment, check=False).returncode:
        subprocess.run([*line[: 0 if root else 1], "apt-get", "update"], env=environment, check=True)
        subprocess.run(line, env=environment, check=True)


def _is_there(program: str) -> bool:
    """A library is a file that nobody executes."""
    return shutil.which(program) is not None or (program.startswith("/") and Path(program).is_file())


def _clang() -> tuple[str, str]:
    """One that is there, by any of its names, else what this system's packages call one with its libFuzzer."""
    names = ["clang", *(f"clang-{version}" for version in range(30, CLANG_OLDEST - 1, -1))]
    present = next(filter(shutil.which, names), "clang")
    listed = ""
    if shutil.which("apt-cache"):
        search = ["apt-cache", "search", "--names-only", "^libclang-rt-[0-9]+-dev$"]
        listed = subprocess.run(search, capture_output=True, text=True, check=False).stdout
    versions = sorted(int(found) for found in re.findall(r"^libclang-rt-(\d+)-dev", listed, re.MULTILINE))
    version = next((version for version in versions if version >= CLANG_OLDEST), None)
    return present, f"clang-{version} libclang-rt-{version}-dev" if version else "clang"


def _allowed(root: bool, line: list[str]) -> bool:
    """Root without a person (CI) installs; a person is asked; anybody else gets the line."""
    if sys.stdin is None or not sys.stdin.isatty() or "CI" in os.environ:
        return root
    answer = input(f'This needs system packages. Run "{shlex.join(line)}" now? [Y/n] ')
    return answer.strip().lower() in ("", "y", "yes")


def install(session: nox.Session, lock: str) -> None:
    """Install the locked packages of requirements/<lock>.txt, and assay itself without dependencies."""
    session.install("--require-hashes", "-r", f"requirements/{lock}.txt")
    session.install("--no-deps", "--no-build-isolation", "-e", ".")
    session.run("python", "-m", "compileall", "-q", "src", silent=True)  # else the first run of each verb does it


INSTALLED = (
    "softhsm|openssl|faketime|docker-registry|sandbox|namespace|openssh|dropbear|detools|C compiler|qemu-system|no QEMU"
    "|west|platformio|uhubctl|32-bit loader|other people's firmware|their source package|pytest-embedded|umockdev"
    "|openhtf|make or its project|podman|busybox|diffoscope|could not import '(boto3|google|azure|hvac|sigstore)"
)
"""What reasons to be skipped speak of that `tests` has installed, or that CI's machines have."""


BUT_TO_COME = "^(?!.*sigstore-go)"
"""All reasons but that a Debian which is not released has no sigstore-go any more."""


NEVER_SKIP = ("-p", "tests.never_skip")
"""The plugin, which is found from the project's folder."""


def never_skip(pattern: str) -> dict[str, str]:
    """In CI a test that is skipped for such a reason fails; elsewhere people see the reason."""
    return {"ASSAY_NEVER_SKIP": pattern} if "CI" in os.environ else {}


def fetch_foreign_firmware(session: nox.Session) -> None:
    """Other people's firmware, for the tests of other people's boards; once, and by its hash."""
    folder = Path(".nox", "foreign-firmware")
    if not list(folder.glob("*.tar.gz")):
        lock = ["--require-hashes", "-r", "requirements/foreign-firmware.txt"]
        source = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
        session.run("python", "-m", "pip", "download", "-q", *source, *lock, "-d", str(folder))


def fetch_cyclonedx_files(session: nox.Session) -> None:
    """CycloneDX's own valid and invalid files, for the tests of bills of materials; once, and by their hash."""
    folder = Path(".nox", "cyclonedx-files")
    if not list(folder.glob("*.tar.gz")):
        lock = ["--require-hashes", "-r", "requirements/cyclonedx-files.txt"]
        source = ["--no-deps", "--no-binary", ":all:"]
        session.run("python", "-m", "pip", "download", "-q", *source, *lock, "-d", str(folder))


def fetch_beside(session: nox.Session, name: str) -> None:
    """What tests run beside ours and never in the same environment, in a folder of its own; once."""
    folder = Path(".nox", name)
    if not folder.is_dir():
        lock = ["--no-deps", "--require-hashes", "-r", f"requirements/{name}.txt"]
        session.run("python", "-m", "pip", "install", "-q", "--target", str(folder), *lock)


def fetch_real_projects(session: nox.Session) -> None:
    """A real project of somebody else, from Debian; CI has to have it, elsewhere its tests are skipped without."""
    session.run("python", "tests/unit/foreign_project.py", success_codes=[0] if "CI" in os.environ else [0, 1])


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: from firmware source to a unit with a history that verifies. Arguments go to `assay run`."""
    need(session, QEMU_ARM, BUBBLEWRAP, GIT, *((QEMU_RISCV,) if "board=rv32-virt" in session.posargs else ()))
    install(session, "run")
    session.run("assay", "run", "pipelines/demo.toml", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the long campaigns."""
    need(session, QEMU_ARM, QEMU_RISCV, BUBBLEWRAP, GIT, HOST_COMPILER, OPENSSL, SOFT_HSM)
    need(session, *SOURCE_PACKAGES, *BENCH_PROGRAMS, *LINUX_PROGRAMS, *FLASH_PROGRAMS, *BUILD_SYSTEMS, DOCKER_REGISTRY)
    need(
        session,
        FAKETIME,
        DIFFOSCOPE,
        *LOADER_32,
        *CONTAINER_PROGRAMS,
        *(() if os.geteuid() == 0 else (IDS_OF_A_CALLER,)),
    )
    install(session, "test")
    session.install("--require-hashes", "-r", "requirements/build-systems.txt")
    fetch_foreign_firmware(session)
    fetch_real_projects(session)
    fetch_cyclonedx_files(session)
    for name in ("pytest-embedded", "openhtf"):
        fetch_beside(session, name)
    workers = ("-n", "auto", "--dist", "worksteal")
    session.run("python", "-m", "pytest", *NEVER_SKIP, *workers, *session.posargs, env=never_skip(INSTALLED))


@nox.session
def labgrid(session: nox.Session) -> None:
    """labgrid in an environment of its own, for tests/system/test_labgrid.py, which `tests` runs when it is there."""
    need(session, SER2NET)
    session.install("--require-hashes", "-r", "requirements/labgrid.txt")
    session.run("labgrid-client", "--help", silent=True)


@nox.session
def containers(session: nox.Session) -> None:
    """Builds in containers, on a podman (in `tests`, too) and a Docker Engine; real projects by Cargo. Wants root."""
    need(session, BUBBLEWRAP, HOST_COMPILER, *CONTAINER_PROGRAMS, DOCKER_ENGINE, *BUILD_SYSTEMS, CARGO)
    if not Path(CRATE).exists():
        need(session, ("the crate fnv of package librust-fnv-dev", "librust-fnv-dev"))
    install(session, "test")
    session.install("--require-hashes", "-r", "requirements/build-systems.txt")
    session.run("python", "tests/unit/foreign_project.py")
    files = ("test_container_builder.py", "test_build_systems.py", "test_real_projects.py")
    files += ("test_west_and_platformio.py",)
    paths = [f"tests/unit/{name}" for name in files]
    session.run("python", "-m", "pytest", *NEVER_SKIP, *paths, *session.posargs, env=never_skip("."))


@nox.session
def elsewhere(session: nox.Session) -> None:
    """Releases built again on another Debian, from their provenance alone; `-- --suite trixie`. Wants root; minutes."""
    need(session, BUBBLEWRAP, GIT, ("mmdebstrap", "mmdebstrap"))
    install(session, "run")
    session.run("python", "tests/system/rebuild_elsewhere.py", *session.posargs)


def run_linux(session: nox.Session, *words: str) -> None:
    """Tests of a Linux module, with what they need; Debian's packages are fetched once."""
    need(session, QEMU_ARM64, BUBBLEWRAP, GIT, *LINUX_PROGRAMS)
    if not Path(U_BOOT).exists():
        need(session, ("u-boot of package u-boot-qemu", "u-boot-qemu"))
    install(session, "test")
    need(session, ("mmdebstrap", "mmdebstrap"))
    session.run("python", "firmware/linux/fetch_base.py", "--once")
    progress = ("-v", "--capture=no", "--durations=0")
    session.run("pytest", *words, *progress, *session.posargs, interrupt_timeout=60.0)


@nox.session
def linux(session: nox.Session) -> None:
    """A Linux module, from Debian's packages to a unit with a history that verifies; `-- --cuts N`, `-- --sample`."""
    run_linux(session, "tests/linux")


@nox.session(name="linux-cuts")
def linux_cuts(session: nox.Session) -> None:
    """Its power and link cut at many moments; `-- --cuts N --lost-flush N --link-moments N --link-cuts N`."""
    counts = ("--cuts=40", "--lost-flush=40", "--link-moments=20", "--link-cuts=20")
    run_linux(session, "tests/linux/test_linux_moments.py", *counts)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    session.install("--require-hashes", "-r", "requirements/tools.txt")
    session.run("ruff", "check", *_present(SOURCES))
    session.run("ruff", "format", "--check", *_present(SOURCES))


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "tools")
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """import-linter: who may import whom."""
    install(session, "tools")
    session.run("lint-imports")


@nox.session
def firmware(session: nox.Session) -> None:
    """The firmware by zig and by Debian's GCC for both boards, and its host tests under sanitizers."""
    need(session, QEMU_ARM, QEMU_RISCV, HOST_COMPILER, GCC_ARM, GCC_RISCV, *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "firmware/tests/run_host.py", "--geometries", "all")
    session.run("python", "firmware/tests/run_host.py", "--mutants")
    session.run("python", "firmware/tests/run_fuzz.py", "--mutants")
    session.run("pytest", "-n", "auto", *(session.posargs or ["tests/firmware"]))


@nox.session
def interop(session: nox.Session) -> None:
    """Other people's programs on what we write: verifiers, TUF clients, a registry, and SMP clients on the twins."""
    need(session, NODE, NPM, QEMU_ARM, QEMU_RISCV)
    install(session, "interop")
    session.run("python", "tests/interop/from_trixie.py")
    session.run("npm", "install", "--no-audit", "--no-fund", "--prefix", "tests/interop", external=True)
    session.run("python", "-m", "pytest", *NEVER_SKIP, "tests/interop", *session.posargs, env=never_skip(BUT_TO_COME))


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, with warnings as errors; reference pages come from the models and the command."""
    install(session, "docs")
    session.run("python", "docs/generate_reference.py")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure side by side, and print ratios."""
    need(session, QEMU_ARM, GIT, HOST_COMPILER, SOFT_HSM, *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "tests/bench/run.py", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """The long kill campaigns; `-- --kills=300` says how many in the one over the whole demo."""
    need(session, QEMU_ARM, QEMU_RISCV, BUBBLEWRAP, GIT, HOST_COMPILER, *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "tests/system/kill_campaign.py", "--turns", "100")
    session.run("python", "tests/system/kill_campaign.py", "--turns", "100", "--board", "rv32-virt")
    session.run("python", "tests/system/ctrl_c_campaign.py", "--stops", "60")
    session.run("python", "tests/system/ctrl_c_campaign.py", "--stops", "60", "--board", "rv32-virt")
    session.run("pytest", "tests/system/test_kills.py", "--timeout=14400", *(session.posargs or ["--kills=200"]))


@nox.session
def changed(session: nox.Session) -> None:
    """A byte changed in every file that the demo leaves; `-- --flips 32 --seed N`; `--site` names another site."""
    need(session, QEMU_ARM, BUBBLEWRAP, GIT, HOST_COMPILER, *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "tests/system/changed_bytes.py", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Fault injection into the bootloader; `-- --seconds 3600 --board rv32-virt` says how long and where."""
    need(session, QEMU_ARM, QEMU_RISCV, HOST_COMPILER, *SOURCE_PACKAGES)
    install(session, "test")
    boards = [] if "--board" in session.posargs else [["--board", "ast1030-evb"], ["--board", "rv32-virt"]]
    for board in boards or [[]]:  # after Ctrl-C it tells what it has found
        command = ("python", "firmware/tests/fault_injection.py", *board, *session.posargs)
        session.run(*command, interrupt_timeout=30.0)


@nox.session
def powercut(session: nox.Session) -> None:
    """Cut the power at every flash operation, on both boards; arguments go to `assay twin powercut` (`--sample N`)."""
    need(session, QEMU_ARM, QEMU_RISCV, BUBBLEWRAP, GIT, HOST_COMPILER, *SOURCE_PACKAGES)
    install(session, "test")
    for board in ("ast1030-evb", "rv32-virt"):
        session.run("python", "tests/system/powercut_campaign.py", "--board", board, "--", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """The firmware's core by clang's libFuzzer, 60 s a target; `-- --seconds 3600 boot` says how long and which."""
    need(session, HOST_COMPILER, _clang(), *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "firmware/tests/run_fuzz.py", "--libfuzzer", *session.posargs)


@nox.session
def atheris(session: nox.Session) -> None:
    """Our parsers by coverage, 30 s a target; `-- --seconds 600 bundle` says how long and which."""
    if sys.platform != "linux" or sys.version_info >= (3, 15):
        session.skip("atheris has no wheel for this Python")
    install(session, "test")
    session.install("--require-hashes", "-r", "requirements/atheris.txt")
    session.run("python", "tests/fuzz/run_atheris.py", *session.posargs)


@nox.session
def frames(session: nox.Session) -> None:
    """A million random frames into the client, and into the firmware of both boards; `-- --count N --seed N`."""
    need(session, QEMU_ARM, QEMU_RISCV, HOST_COMPILER, *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "tests/system/random_frames.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """A thousand updates in a row on each board, good, bad and with the power cut; `-- --updates N --seed N`."""
    need(session, QEMU_ARM, QEMU_RISCV, BUBBLEWRAP, GIT, HOST_COMPILER, *SOURCE_PACKAGES)
    install(session, "test")
    session.run("python", "tests/system/soak.py", *session.posargs, interrupt_timeout=60.0)


@nox.session
def lock(session: nox.Session) -> None:
    """Write the lock files again, without download addresses."""
    session.install("uv")
    flags = "--universal --python-version 3.11 --generate-hashes --no-header --no-annotate"
    flags += " --no-emit-index-url --no-emit-find-links"
    extras = {
        "run": (),
        "test": (
            "test",
            "azurekms",
            "container",
            "delta",
            "gcpkms",
            "gpio",
            "hsm",
            "hv",
            "kms",
            "parts",
            "policy",
            "repository",
            "sigstore",
            "ssh",
            "esptool",
            "pyocd",
            "top",
        ),
        "tools": ("test", "tools", "gpio", "hsm", "parts", "policy", "repository", "sigstore", "ssh", "pyocd", "top"),
        "docs": ("docs",),
        "interop": ("test", "interop", "sigstore"),
    }
    for name, wanted in extras.items():
        chosen = [part for extra in wanted for part in ("--extra", extra)]
        inputs = ("pyproject.toml", "requirements/build.in", "-o", f"requirements/{name}.txt")
        session.run("uv", "pip", "compile", "-q", "--upgrade", *flags.split(), *chosen, *inputs)
    for name in ("labgrid", "atheris", "build-systems", "openhtf"):
        alone = (f"requirements/{name}.in", "-o", f"requirements/{name}.txt")
        session.run("uv", "pip", "compile", "-q", "--upgrade", *flags.split(), *alone)
    beside = ("--no-deps", "requirements/pytest-embedded.in", "-o", "requirements/pytest-embedded.txt")
    session.run("uv", "pip", "compile", "-q", "--upgrade", *flags.split(), *beside)


def _present(paths: tuple[str, ...]) -> list[str]:
    return [path for path in paths if Path(path).exists()]
