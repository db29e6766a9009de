# SPDX-License-Identifier: Apache-2.0
"""URIs of keys in tokens, `keys.toml` as text, and the verbs that write it; nothing here needs a token."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_signer import statement

from assay.backends.signers import key_table_text, pin, withheld
from assay.backends.signers.key_folder import KeyFolder
from assay.backends.signers.token_lock import TokenLock
from assay.cli.keys import command
from assay.errors import InfrastructureError, ManifestFault, StorageError, UsageFault
from assay.formats.key_uri import TokenKey, parse_token_uri
from assay.interfaces.signer import announce_nothing
from assay.model import keys
from assay.model.keys import KeyTable, PinSource, RoleKey, Token
from assay.model.trust import Role
from assay.pipeline.site import Site
from assay.pipeline.test_process import TestCommand
from assay.pipeline.test_sandbox import SandboxView


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("hsm:", TokenKey(None, b"\x02", None)),
        ("hsm:2?label=factory", TokenKey("factory", b"\x02", None)),
        ("hsm:0", TokenKey(None, b"\0", None)),
        ("hsm:258?label=YubiKey+PIV+%2315835999", TokenKey("YubiKey PIV #15835999", b"\x01\x02", None)),
        ("pkcs11:token=a%20b;object=image", TokenKey("a b", None, "image")),
        ("pkcs11:object=x;id=%00%ff;type=private", TokenKey(None, b"\0\xff", "x")),
    ],
)
def test_uris(uri: str, key: TokenKey) -> None:
    assert parse_token_uri(uri) == key


@pytest.mark.parametrize(
    "uri",
    [
        "hsm:x",
        "hsm:-1",
        "hsm:²",
        "hsm:2?pin=9517",
        "hsm:2?label=a&pin-value=9517",
        "pkcs11:token=a;object=b?pin-value=9517",
        "pkcs11:token=a;object=b;pin-value=9517",
        "pkcs11:token=a;object=b?module-path=/9517",
        "pkcs11:token=a",
        "pkcs11:",
        "pkcs11:object=a;object=b",
        "pkcs11:object=a;type=public",
        "file2:9517",
    ],
)
def test_uris_that_are_none_are_not_repeated(uri: str) -> None:
    with pytest.raises(UsageFault) as told:
        parse_token_uri(uri)
    assert "9517" not in str(told.value)


@given(st.text(max_size=60))
def test_any_text_is_a_uri_or_is_refused(text: str) -> None:
    for uri in (f"hsm:{text}", f"pkcs11:{text}", text):
        try:
            found = parse_token_uri(uri)
        except UsageFault as told:
            assert len(text) < 8 or text not in str(told)
        else:
            assert found.key_id or found.label


def test_keys_toml_reads_back(tmp_path: Path) -> None:
    public = KeyFolder(tmp_path).role_key(Role.BENCH).public
    pins = (
        PinSource(env="ASSAY_PIN"),
        PinSource(file='a "b"'),
        PinSource(command=("a", "b c")),
        PinSource(prompt=True),
    )
    tokens = {f"to ken {n}": Token(module="/x.so", pin=each, serial="1" if n else None) for n, each in enumerate(pins)}
    role = RoleKey(uri='pkcs11:object=a"b', public=public, name='q"', development=True)
    table = KeyTable(tokens=tokens, roles={Role.BENCH: role})
    assert key_table_text.read(key_table_text.encode(table), "keys.toml") == table


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('pin = { env = "PIN" }', "keys.toml:5: tokens.t.pin.env: String should match"),
        ('pin = { env = "ASSAY_PIN", prompt = true }', "keys.toml:5: tokens.t.pin: expected one of env"),
        ("pin = {}", "keys.toml:5: tokens.t.pin: expected one of env"),
        ('pin = "9517"', "keys.toml:5: tokens.t.pin: "),
        ("pin = { prompt = true }\nretries = 3", "keys.toml:6: tokens.t.retries: Extra inputs"),
        ("pin = { prompt = true }\ntimeout_s = 0", "keys.toml:6: tokens.t.timeout_s: "),
        ("pin = [", "keys.toml:5: not TOML"),
        (
            'pin = { prompt = true }\n[roles.log]\nuri = "hsm:2?pin=9517"\nname = "x"\npublic = ""',
            "keys.toml:7: roles.log: a hsm: URI has nothing",
        ),
    ],
)
def test_faults_have_a_line_and_no_secret(line: str, says: str) -> None:
    text = f'schema = "assay.keys/1"\n\n[tokens.t]\nmodule = "/x.so"\n{line}\n'
    with pytest.raises(ManifestFault) as told:
        key_table_text.read(text.encode(), "keys.toml")
    assert says in str(told.value)
    assert "9517" not in str(told.value)


def call(site: Path, *words: str) -> tuple[int, dict[str, object]]:
    answer = CliRunner().invoke(command, [*words, "--site", str(site), "--json"])
    return answer.exit_code, json.loads(answer.stdout)


def test_a_site_of_its_own_keys(tmp_path: Path) -> None:
    """File keys of a site that makes no development keys; the log keeps its key."""
    folder = KeyFolder(tmp_path / "other")
    for role in (Role.BUILDER, Role.LOG, Role.IMAGE):
        folder.role_key(role)
    site = tmp_path / "site"
    keys_dir = site / "keys"
    keys_dir.mkdir(parents=True, mode=0o700)
    for name in ("builder", "log", "image"):
        source = tmp_path / "other" / f"{name}-UNSAFE-DEVELOPMENT.pem"
        (keys_dir / f"{name}.pem").write_bytes(source.read_bytes())
        (keys_dir / f"{name}.pem").chmod(0o600)
    status, answer = call(site, "use", "builder", "file2:builder.pem", "--name", "builder-2026", "--production")
    assert status == 0
    assert answer["key"]["name"] == "builder-2026"  # type: ignore[index]
    assert call(site, "use", "log", "file2:log.pem")[0] == 0
    status, answer = call(site, "list")
    listed = {key["role"]: (key["uri"], key["development"]) for key in answer["keys"]}  # type: ignore[attr-defined]
    assert listed == {"builder": ("file2:builder.pem", False), "log": ("file2:log.pem", True)}
    assert call(site, "show", "station")[0] == 4
    assert call(site, "use", "station", "file2:image.pem")[1]["error"].startswith("a station key has to be ecdsa")  # type: ignore[attr-defined]
    assert call(site, "trust")[0] == 0
    (site / "log").mkdir(exist_ok=True)
    (site / "log" / "checkpoint").touch()
    status, answer = call(site, "use", "log", "file2:log.pem")
    assert (status, "begun with another key" in str(answer["error"])) == (4, True)


def test_what_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text("no key")
    (tmp_path / "private.pem").write_text("-----BEGIN PRIVATE KEY-----")
    for words, status, says in (
        (("use", "builder", "xyz:1"), 2, "the public part of a xyz: key is not known"),
        (("use", "builder", "awskms:1", "--make"), 2, "--make makes keys in tokens"),
        (("use", "builder", "awskms:1", "--public", str(tmp_path / "private.pem")), 2, "is a private key"),
        (("use", "builder", "awskms:1", "--public", str(tmp_path / "public.pem")), 4, "not PEM"),
        (("use", "builder", "file2:none.pem"), 3, "is missing"),
        (("token", "t", "--module", "x.so", "--pin-prompt"), 2, "module"),
        (("token", "t", "--module", "/x.so"), 2, "expected one of env"),
        (("token", "t", "--module", "/x.so", "--pin-prompt", "--pin-env", "ASSAY_PIN"), 2, "expected one of env"),
        (("login", "t"), 2, "no [tokens] entry for the token 't'"),
    ):
        found, answer = call(tmp_path / "site", *words)
        assert (found, says in str(answer["error"])) == (status, True), answer


def test_a_scheme_that_nobody_offers(tmp_path: Path) -> None:
    public = KeyFolder(tmp_path / "other").role_key(Role.BUILDER).public
    (tmp_path / "public.pem").write_text(public)
    site = tmp_path / "site"
    assert call(site, "use", "builder", "xyz:1", "--public", str(tmp_path / "public.pem"))[0] == 0
    opened = Site(site)
    with pytest.raises(UsageFault, match=r"no installed package offers the driver 'xyz' of assay\.signers") as told:
        opened.signers.sign_statement(Role.BUILDER, statement())
    assert "hsm" in told.value.remedy
    opened.signers.close()


# PINs in the environment and on the terminal.


def test_the_prefix_is_one() -> None:
    assert withheld.PIN_PREFIX == keys.PIN_PREFIX


def test_variables_with_pins_are_taken_out_of_the_environment() -> None:
    script = (
        "from assay.backends.signers.withheld import withheld, withhold; import os; withhold();"
        "assert withheld() == {'ASSAY_PIN_A': 'nine'}; assert 'ASSAY_PIN_A' not in os.environ;"
        "assert b'nine' not in open('/proc/self/environ', 'rb').read()"
    )
    environment = {**os.environ, "ASSAY_PIN_A": "nine"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_a_suite_is_given_no_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where `assay` was not what started: the environment of a suite is a list of what it may have."""
    monkeypatch.setenv("ASSAY_PIN_A", "nine")
    view = SandboxView((), (), (), ())
    command = TestCommand(tmp_path, ("a",), (), tmp_path, tmp_path, tmp_path, view)
    assert "nine" not in str(command.environment)


@pytest.mark.parametrize("typed", [b"9517\n", b"\x03", None], ids=["typed", "Ctrl-C", "nothing"])
def test_a_pin_is_asked_for_unseen(typed: bytes | None) -> None:
    """In a session of its own on a pseudo-terminal; afterwards the terminal shows what is typed again."""
    pid, terminal = pty.fork()
    if pid == 0:
        pin.PROMPT_WITHIN_S = 0.5 if typed is None else 60.0
        try:
            os._exit(0 if pin.ask("factory") == "9517" else 1)
        except KeyboardInterrupt:
            os._exit(2)
        except InfrastructureError:
            os._exit(3)
    said = b""
    while b"PIN of the token 'factory': " not in said:
        said += os.read(terminal, 1000)
    if typed is not None:
        os.write(terminal, typed)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.close(terminal)
    assert status == {b"9517\n": 0, b"\x03": 2, None: 3}[typed]
    assert b"9517" not in said


def test_nobody_is_asked_where_there_is_no_terminal() -> None:
    script = (
        "from assay.backends.signers import pin\nfrom assay.errors import Refused\n"
        "try:\n    pin.ask('t')\nexcept Refused as told:\n    print(told.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], start_new_session=True, capture_output=True, text=True, check=True
    )
    assert done.stdout == "nobody can be asked for the PIN of the token 't' here\n"


# The lock.


def test_a_lock_that_does_not_get_free_names_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.backends.signers.token_lock.WAIT_S", 0.1)
    folder = tmp_path / "locks"
    waited: list[str] = []
    with TokenLock(folder, Path("/x.so"), "factory").held(announce_nothing):
        other = TokenLock(folder, Path("/x.so"), "factory")
        told = pytest.raises(InfrastructureError, match=f"process {os.getpid()} has the token 'factory'")
        with told, other.held(lambda what, _within_s: waited.append(what)):
            raise AssertionError
        with TokenLock(folder, Path("/x.so"), "another").held(announce_nothing):
            pass
    assert waited == [f"the lock of the token 'factory', which process {os.getpid()} has"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o666}


def test_threads_take_turns(tmp_path: Path) -> None:
    lock, inside, most = TokenLock(tmp_path, Path("/x.so"), "factory"), [0], [0]

    def enter() -> None:
        with lock.held(announce_nothing):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1]


def test_a_lock_is_not_followed_through_a_link(tmp_path: Path) -> None:
    lock = TokenLock(tmp_path, Path("/x.so"), "factory")
    with lock.held(announce_nothing):
        (path,) = tmp_path.iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot be kept"), lock.held(announce_nothing):
        raise AssertionError
