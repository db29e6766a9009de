# SPDX-License-Identifier: Apache-2.0
"""Finding boards: places by what a unit is, never by the port that it has today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from usb_host import UsbBoard, lay_out, lay_out_uarts, run_on

from assay.cli.bench import list_
from assay.drivers.usb_ports import port_of
from assay.errors import LinkError, ManifestFault, UsageFault
from assay.formats.hardware_map import read_map, update_map, write_map
from assay.model.bench import Bench, UsbIdentity
from assay.model.probe_kinds import probe_id
from assay.model.seen_port import SeenPort, identity_of
from assay.pipeline.bench_scan import add_places, places_of_map
from assay.stages.manifest.read import read_manifest

ROOT = Path(__file__).parents[2]
LEFT = UsbBoard(("ttyACM0",), "1-1", serial="000683000001")
RIGHT = UsbBoard(("ttyACM1",), "1-2.3", serial="000683000002")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "boards").symlink_to(ROOT / "boards")
    return folder


@pytest.fixture
def terminals() -> Iterator[list[str]]:
    pairs = [os.openpty() for _ in range(3)]
    yield [os.ttyname(slave) for _, slave in pairs]
    for master, slave in pairs:
        os.close(master)
        os.close(slave)


class Host:
    """Boards come and go between commands, as they do on a desk."""

    def __init__(self, tmp_path: Path, project: Path, terminals: list[str]) -> None:
        self._tmp, self.project, self._terminals, self._round = tmp_path, project, terminals, 0

    def assay(
        self, boards: list[UsbBoard], *words: str, mighty: bool = True, uarts: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        self._round += 1
        folder = self._tmp / f"sys{self._round}"
        lay_out(folder, boards)
        lay_out_uarts(folder, uarts or {})
        names = [device for board in boards for device in board.devices] + list(uarts or {})
        terminals = dict(zip(names, self._terminals, strict=False))
        return run_on(folder, terminals, *words, cwd=self.project, mighty=mighty)

    def bench(self) -> list[dict[str, object]]:
        return list(tomllib.loads((self.project / "bench.toml").read_text())["places"])


@pytest.fixture
def host(tmp_path: Path, project: Path, terminals: list[str]) -> Host:
    return Host(tmp_path, project, terminals)


def test_scan_names_units_by_what_they_are(host: Host) -> None:
    done = host.assay([LEFT, RIGHT], "bench", "scan", "--board", "rv32-virt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [place["usb"] for place in host.bench()] == [
        {"vendor": 0x1366, "product": 0x1055, "serial": "000683000001"},
        {"vendor": 0x1366, "product": 0x1055, "serial": "000683000002"},
    ]
    assert [place["name"] for place in host.bench()] == ["rv32-virt-000001", "rv32-virt-000002"]
    assert [place["probe"] for place in host.bench()] == ["683000001", "683000002"]  # as pyOCD and OpenOCD count
    assert "ttyACM" not in (host.project / "bench.toml").read_text()
    again = host.assay([LEFT, RIGHT], "bench", "scan", "--board", "rv32-virt", "--json")
    assert json.loads(again.stdout)["added"] == []


def test_a_unit_is_found_on_whichever_port_it_is(host: Host) -> None:
    host.assay([LEFT, RIGHT], "bench", "scan", "--board", "rv32-virt")
    swapped = [UsbBoard(("ttyACM1",), "1-2.3", serial=LEFT.serial), UsbBoard(("ttyACM0",), "1-1", serial=RIGHT.serial)]
    rows = json.loads(host.assay(swapped, "bench", "list", "--json").stdout)["places"]
    assert [(row["name"], row["port"]) for row in rows] == [
        ("rv32-virt-000001", "/dev/ttyACM1"),
        ("rv32-virt-000002", "/dev/ttyACM0"),
    ]


def test_a_board_that_was_swapped_is_told(host: Host) -> None:
    host.assay([LEFT], "bench", "scan", "--board", "rv32-virt")
    other = UsbBoard(("ttyACM0",), "1-1", serial="000683000099")
    done = host.assay([other], "bench", "scan")
    assert "rv32-virt-000001: not connected" in done.stdout
    assert "no place yet: /dev/ttyACM0" in done.stdout and "000683000099" in done.stdout


def test_two_boards_with_one_serial_number_are_told_apart_by_their_sockets(host: Host) -> None:
    twins = [UsbBoard(("ttyACM0",), "1-1", serial="SAME"), UsbBoard(("ttyACM1",), "1-2", serial="SAME")]
    assert host.assay(twins, "bench", "scan", "--board", "rv32-virt").returncode == 0
    assert [place["usb"]["location"] for place in host.bench()] == ["1-1", "1-2"]  # type: ignore[index]
    rows = json.loads(host.assay(twins, "bench", "list", "--json").stdout)["places"]
    assert [row["port"] for row in rows] == ["/dev/ttyACM0", "/dev/ttyACM1"]


def test_one_device_with_two_ports_makes_two_places(host: Host) -> None:
    both = [UsbBoard(("ttyACM0", "ttyACM1"), "1-1", serial="A1")]
    host.assay(both, "bench", "scan", "--board", "rv32-virt", "--only", "/dev/ttyACM1")
    assert [place["usb"]["interface"] for place in host.bench()] == [2]  # type: ignore[index]


PROBE = UsbBoard((), "1-3", 0x2E8A, 0x000C, "E6614103E7", "Raspberry Pi", "Debug Probe (CMSIS-DAP)")
IN_DFU = UsbBoard((), "1-4", 0x0483, 0xDF11, "3568", "STMicroelectronics", "STM32 BOOTLOADER", dfu=True)
MOUSE = UsbBoard((), "1-5", 0x046D, 0xC077, None, "Logitech", "Mouse")


def test_a_probe_and_a_board_in_dfu_mode_are_found_without_a_port(host: Host) -> None:
    """They are listed; a place is made of the one that is named, since a port of the board may be another device."""
    there = [LEFT, PROBE, IN_DFU, MOUSE]
    done = host.assay(there, "bench", "scan", "--board", "rv32-virt")
    assert "no place yet, and no port: probe E6614103E7 (USB 2e8a:000c" in done.stdout, done.stdout + done.stderr
    assert "no port: dfu-util 3568 (USB 0483:df11" in done.stdout and "Mouse" not in done.stdout
    assert len(host.bench()) == 1
    for which in ("E6614103E7", "1-4"):
        done = host.assay(there, "bench", "scan", "--board", "rv32-virt", "--only", which)
        assert done.returncode == 0, done.stdout + done.stderr
    _, probe, dfu = host.bench()
    assert probe == {"name": "rv32-virt-4103e7", "board": "rv32-virt", "probe": "E6614103E7"}
    assert dfu == {"name": "rv32-virt-3568", "board": "rv32-virt", "flash": {"dfu-util": "3568"}}
    assert json.loads(host.assay(there, "bench", "scan", "--json").stdout)["devices"] == []


@pytest.mark.parametrize(
    ("facts", "probe"),
    [
        ((0x1366, 0x0105, "000683000001", "SEGGER J-Link"), "683000001"),
        ((0x1366, 0x0105, "000000", "SEGGER J-Link"), None),
        ((0x0483, 0x374B, "066DFF", "STM32 STLink"), "066DFF"),
        ((0x0483, 0x3748, "\x1a", "STM32 STLink"), None),
        ((0x0D28, 0x0204, "0240", "Arm BBC micro:bit CMSIS-DAP"), "0240"),
        ((0x10C4, 0xEA60, "0001", "CP2102"), None),
        ((0x0D28, 0x0204, None, "CMSIS-DAP"), None),
    ],
)
def test_what_is_a_probe(facts: tuple[int, int, str | None, str], probe: str | None) -> None:
    assert probe_id(*facts) == probe


def test_the_probe_of_two_ports_is_of_the_first_place(host: Host) -> None:
    both = [UsbBoard(("ttyACM0", "ttyACM1"), "1-1", serial="000683000001")]
    done = host.assay(both, "bench", "scan", "--board", "rv32-virt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [place.get("probe") for place in host.bench()] == ["683000001", None]


def test_without_a_board_nothing_is_written(host: Host) -> None:
    done = host.assay([LEFT], "bench", "scan")
    assert done.returncode == 0 and "no place yet: /dev/ttyACM0" in done.stdout
    assert not (host.project / "bench.toml").exists()


def test_what_a_person_wrote_stays(host: Host) -> None:
    mine = (
        '# my bench\nschema = "assay.bench/1"\n\n[[places]]\nname = "desk"\nboard = "rv32-virt"\nport = "/dev/x" # x\n'
    )
    (host.project / "bench.toml").write_text(mine)
    host.assay([LEFT], "bench", "scan", "--board", "rv32-virt")
    assert (host.project / "bench.toml").read_text().startswith(mine)
    assert len(host.bench()) == 2


def test_a_hardware_map_is_written_and_brought_up_to_date(host: Host) -> None:
    host.assay([LEFT], "bench", "scan", "--board", "rv32-virt", "--hardware-map", "map.yml")
    file = host.project / "map.yml"
    (first,) = yaml.safe_load(file.read_text())
    assert first == {
        "connected": True,
        "id": "000683000001",
        "platform": "rv32-virt",
        "probe_id": "683000001",
        "product": "J-Link",
        "runner": "unknown",
        "serial": "/dev/ttyACM0",
    }
    file.write_text(yaml.safe_dump([{**first, "runner": "jlink", "pre_script": "/opt/x", "fixtures": ["i2c"]}]))
    host.assay([RIGHT], "bench", "scan", "--hardware-map", "map.yml")
    left, right = yaml.safe_load(file.read_text())
    assert right["probe_id"] == "683000002" and "fixtures" not in right
    assert (left["connected"], left["serial"], left["pre_script"]) == (False, None, "/opt/x")
    assert left["fixtures"] == ["i2c"] and left["runner"] == "jlink"
    assert (right["id"], right["serial"], right["platform"]) == ("000683000002", "/dev/ttyACM1", "unknown")


def test_a_hardware_map_becomes_places(host: Host) -> None:
    entries = [
        {"connected": True, "id": "000683000001", "platform": "rv32_virt/soc", "serial": "/dev/ttyACM7",
         "fixtures": ["fixture_i2c:sensor"], "probe_id": "683000001"},
        {"connected": True, "id": 42, "platform": "frdm_k64f"},
    ]  # fmt: skip
    (host.project / "map.yml").write_text(yaml.safe_dump(entries))
    done = host.assay([LEFT], "bench", "scan", "--import", "map.yml")
    assert done.returncode == 2 and "42: there is no board file for the platform frdm_k64f" in done.stdout
    (place,) = host.bench()
    assert (place["usb"], place["features"]) == ({"serial": "000683000001"}, ["fixture-i2c-sensor"])
    assert place["probe"] == "683000001"
    rows = json.loads(host.assay([LEFT], "bench", "list", "--json").stdout)["places"]
    assert rows[0]["port"] == "/dev/ttyACM0"
    host.assay([LEFT], "bench", "scan", "--hardware-map", "back.yml")
    (back,) = yaml.safe_load((host.project / "back.yml").read_text())
    assert (back["probe_id"], back["fixtures"]) == ("683000001", ["fixture-i2c-sensor"])


def test_a_port_of_somebody_else_comes_with_the_udev_line(host: Host, terminals: list[str]) -> None:
    host.assay([LEFT], "bench", "scan", "--board", "rv32-virt")
    if os.geteuid() == 0:
        os.chown(terminals[0], 65534, -1)
    Path(terminals[0]).chmod(0o600 if os.geteuid() == 0 else 0)
    done = host.assay([LEFT], "bench", "ask", "rv32-virt-000001", "--json", mighty=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["layer"]) == (3, "port"), done.stdout + done.stderr
    assert "no permission for /dev/ttyACM0" in told["error"]
    assert 'ATTRS{idVendor}=="1366"' in told["remedy"] and "/etc/udev/rules.d/" in told["remedy"]


def port(device: str, **facts: object) -> SeenPort:
    known = {"vendor": 0x10C4, "product": 0xEA60, "serial": "A", "location": "1-1"}
    return SeenPort(device, **{**known, **facts})  # type: ignore[arg-type]


def test_several_candidates_are_a_question_with_the_list() -> None:
    seen = [port("/dev/ttyUSB0"), port("/dev/ttyUSB1", serial="B", location="1-2")]
    with pytest.raises(UsageFault) as caught:
        port_of("place desk", UsbIdentity(vendor=0x10C4, product=0xEA60), seen)
    assert "/dev/ttyUSB0" in caught.value.message and "/dev/ttyUSB1" in caught.value.message
    assert "add serial" in caught.value.remedy
    same = [port("/dev/ttyUSB0"), port("/dev/ttyUSB1", location="1-2")]
    with pytest.raises(UsageFault) as caught:
        port_of("place desk", UsbIdentity(serial="A"), same)
    assert "add location" in caught.value.remedy


def test_an_absent_unit_is_told_with_what_is_there_instead() -> None:
    wanted = UsbIdentity(vendor=0x10C4, product=0xEA60, serial="GONE")
    with pytest.raises(LinkError) as caught:
        port_of("place desk", wanted, [port("/dev/ttyUSB0")])
    assert "of its kind there is /dev/ttyUSB0" in caught.value.message
    in_socket = UsbIdentity(serial="GONE", location="1-1")
    with pytest.raises(LinkError, match="in its socket is /dev/ttyUSB0"):
        port_of("place desk", in_socket, [port("/dev/ttyUSB0", vendor=1)])


@pytest.mark.parametrize("serial", [None, "0001", "000000", "0123456789ABCDEF", "N/A"])
def test_a_serial_number_that_every_adapter_has_tells_nothing(serial: str | None) -> None:
    seen = [port("/dev/ttyUSB0", serial=serial)]
    identity = identity_of(seen[0], seen)
    assert identity is not None and identity.serial is None and identity.location == "1-1"


def test_a_port_that_is_no_usb_device_has_no_identity() -> None:
    assert identity_of(SeenPort("/dev/ttyS0"), []) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "map.yml:1: is no YAML"),
        ("just text", "expected a list of boards"),
        ("- {id: 7, connected: 1.5}", "board 1: connected"),
    ],
)
def test_a_wrong_map_is_told(text: str, says: str) -> None:
    with pytest.raises(ManifestFault, match=says.replace("(", r"\(")):
        read_map(text.encode(), "map.yml")


def test_twins_get_places(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.drivers.twin.twin_folder import create_twin
    from assay.pipeline.manifest_files import load_bench, load_board
    from assay.pipeline.places import find_place
    from assay.pipeline.site import Site

    site = Site(project / "site")
    create_twin(site.twins_dir, "t1", load_board(ROOT / "boards" / "rv32-virt.toml"))
    command = [sys.executable, "-m", "assay", "bench", "scan", "--twins", "--site", str(site.folder)]
    for _ in range(2):
        subprocess.run(command, cwd=project, check=True, timeout=60, capture_output=True)
    (place,) = load_bench(project / "bench.toml").places
    assert (place.name, place.board, place.twin) == ("t1", "rv32-virt", "t1")
    address = find_place(site, "t1", start=project)
    assert address.twin == site.twins_dir / "t1" and address.port.endswith("t1/tty")
    file = project / "bench.toml"
    file.write_text(file.read_text().replace('name = "t1"', 'name = "desk"'))
    create_twin(site.twins_dir, "t2", load_board(ROOT / "boards" / "rv32-virt.toml"))
    listed = CliRunner().invoke(list_, ["--bench", str(file), "--site", str(site.folder), "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)["places"]] == ["desk", "t2"], "one unit is one row"


def test_a_port_that_is_no_usb_is_named_and_not_guessed(host: Host) -> None:
    """A UART does not say what it is; a name that the kernel keeps for one that was never there is no port."""
    uarts = {"ttyS0": "4", "ttyS1": "0"}
    for words in (("--dry-run",), ()):
        told = host.assay([], "bench", "scan", *words, uarts=uarts).stdout.splitlines()
        assert told == [
            "no board is plugged in",
            "no USB, so nobody knows what is there: /dev/ttyS0 (a place for it: port = ..., written by hand)",
            "left out, nothing is behind it: /dev/ttyS1",
        ]
    data = json.loads(host.assay([LEFT], "bench", "scan", "--dry-run", "--json", uarts={"ttyS0": "4"}).stdout)
    assert [port["device"] for port in data["unplaced"]] == ["/dev/ttyACM0"]
    assert (data["without_identity"], data["without_hardware"]) == (["/dev/ttyS0"], [])
    listed = host.assay([], "bench", "list", uarts=uarts).stdout
    assert "port without a place: /dev/ttyS0 (no USB device: it does not say what it is)" in listed
    assert "ttyS1" not in listed


def test_serial_numbers_are_taken_as_they_are_written() -> None:
    (entry,) = read_map(b"- {id: 000123, connected: true}", "m")
    assert entry.id == "000123"


def test_boards_of_one_serial_number_stay_as_they_are_in_the_map() -> None:
    entries = read_map(b"- {id: A, connected: true, serial: /dev/ttyUSB5, platform: x}", "m")
    seen = [port("/dev/ttyUSB0"), port("/dev/ttyUSB1", location="1-2")]
    assert write_map(update_map(entries, seen, {})) == write_map(entries)


def test_a_bench_file_that_would_be_wrong_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text('schema = "assay.bench/1"\nplaces = [{ name = "a", board = "b", port = "c" }]\n')
    before = file.read_bytes()
    places, _ = places_of_map(read_map(b"- {id: A, platform: b, connected: true}", "m"), ["b"], [])
    with pytest.raises(ManifestFault):
        add_places(file, places)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ('name = "a"\nboard = "b"', "needs one of usb, twin, port, labgrid and ssh, and has none"),
        ('name = "a"\nboard = "b"\nport = "x"\ntwin = "t"', "not twin and port"),
        ('name = "a"\nboard = "b"\nusb = { vendor = 1 }', "serial number, a location, or vendor and product"),
    ],
)
def test_a_place_has_one_identity(place: str, says: str) -> None:
    with pytest.raises(ManifestFault, match=says):
        read_manifest(f'schema = "assay.bench/1"\n[[places]]\n{place}\n'.encode(), "bench.toml", Bench)


def test_two_places_of_one_name_are_refused() -> None:
    place = '[[places]]\nname = "a"\nboard = "b"\nport = "x"\n'
    with pytest.raises(ManifestFault, match=r"bench.toml:7: .*two places called 'a'"):
        read_manifest(f'schema = "assay.bench/1"\n{place}{place}'.encode(), "bench.toml", Bench)


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


@pytest.mark.parametrize(
    ("one", "two", "key"),
    [
        ('port = "x"\nprobe = "123"', 'probe = "123"', "probe"),
        ('port = "x"\nchip = "00ff"', 'port = "y"\nchip = "00ff"', "chip"),
        (f'ssh = {{ host = "UNIT", user = "a", host_keys = ["{HOST_KEY}"] }}',
         f'port = "y"\nssh = {{ host = "unit", user = "b", host_keys = ["{HOST_KEY}"] }}', "ssh"),
    ],
)  # fmt: skip
def test_a_unit_in_two_places_is_refused(one: str, two: str, key: str) -> None:
    """Each would have its own lock."""
    text = "".join(f'[[places]]\nname = "{name}"\nboard = "b"\n{rest}\n' for name, rest in (("a", one), ("b", two)))
    with pytest.raises(ManifestFault, match=f"places 'a' and 'b' are one unit, with the {key} "):
        read_manifest(f'schema = "assay.bench/1"\n{text}'.encode(), "bench.toml", Bench)
