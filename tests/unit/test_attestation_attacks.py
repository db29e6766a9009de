# SPDX-License-Identifier: Apache-2.0
"""The attacks of docs/reference/attestations.md on statements: each refused with its reason, status 4, no traceback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from keyless_bench import SHA256, WHO, identity, services, sign_keyless, statement, trust_file
from memory_signer import MemorySigner, trust_in

from assay.backends.logs.rekor_client import services_of
from assay.cli.verify import command as verify
from assay.errors import NotVerified, Refused, ToolMissing
from assay.formats import dsse, sigstore_bundle
from assay.formats.keyless_proof import place_and_time
from assay.formats.log_entry_proof import LoggedSignature
from assay.formats.statement_verifier import verify_statement, verify_statements
from assay.formats.trusted_root import read as read_root
from assay.model.signer_limits import Threshold
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.log_submit import log_bundle
from assay.pipeline.offline_verify import kind_of
from assay.pipeline.trust_file import write_trust
from assay.simulation.sigstore_lab import certificates
from assay.simulation.sigstore_lab.lab import SigstoreLab

KIND = PredicateType.RELEASE
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass
class Scene:
    """A lab, a builder that signs there, one that signs by key, and bundles of both."""

    lab: SigstoreLab
    signer: MemorySigner = field(default_factory=MemorySigner)

    def __post_init__(self) -> None:
        self.keyless = sign_keyless(self.lab, statement())
        self.keyless_other = sign_keyless(self.lab, statement(extra="another artifact"))
        self.keyed = self.signer.sign_statement(Role.BUILDER, statement())
        self.key = self.signer.public_key(Role.BUILDER)
        self.logged = self.log(self.keyed)

    def log(self, bundle: bytes) -> bytes:
        """The bundle with a log entry and a time stamp."""
        where = services_of(self.lab.trust_config)
        return log_bundle(bundle, self.key, where, json.dumps(self.lab.trusted_root))[0]

    def trust(self, **changes: Any) -> TrustFile:
        """Both builders are trusted; `changes` are of the key."""
        key = self.key.model_copy(update={"sigstore": "lab"} | changes)
        return trust_file(self.lab, keys=(key,))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with SigstoreLab() as lab:
        yield Scene(lab)


def check(bundle: bytes, trust: TrustFile, **options: Any) -> Any:
    """The question that all attacks are about."""
    asked = {"role": Role.BUILDER, "predicate_types": {KIND}, "subject_sha256": SHA256, "at": datetime.now(UTC) + DAY}
    return verify_statement(bundle, trust, **(asked | options))


def changed(bundle: bytes, change: Any) -> bytes:
    """The bundle with its document changed."""
    document = json.loads(bundle)
    change(document)
    return json.dumps(document).encode()


def test_what_is_good_is_accepted(scene: Scene) -> None:
    keyless, logged = check(scene.keyless, scene.trust()), check(scene.logged, scene.trust(log_required=True))
    assert keyless.time is not None and keyless.place is not None and keyless.signer.name == "ci"
    assert logged.time is not None and logged.place is not None and logged.signer.name == scene.key.name
    assert check(scene.keyed, scene.trust()).place is None
    assert abs(keyless.time.when - datetime.now(UTC)) < DAY


@pytest.mark.parametrize("bundle", ["keyless", "keyed", "logged"])
def test_another_predicate_type(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="the predicate type is"):
        check(getattr(scene, bundle), scene.trust(), predicate_types={PredicateType.SBOM})


@pytest.mark.parametrize("bundle", ["keyless", "keyed", "logged"])
def test_another_subject(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="is not about the file"):
        check(getattr(scene, bundle), scene.trust(), subject_sha256="ef" * 32)


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.in-toto+jsön"])
@pytest.mark.parametrize("bundle", ["keyless", "keyed"])
def test_another_payload_type(scene: Scene, bundle: str, kind: str) -> None:
    with pytest.raises(NotVerified, match="payload type"):
        check(changed(getattr(scene, bundle), lambda it: it["dsseEnvelope"].update(payloadType=kind)), scene.trust())


def test_lengths_of_a_payload_type_count_bytes() -> None:
    """sigstore-python counts characters, DSSE bytes: a type of one would verify as a type of another."""
    assert dsse.pae("ä", b"x") == b"DSSEv1 2 \xc3\xa4 1 x"


def test_a_key_in_the_place_of_the_certificate(scene: Scene) -> None:
    """cosign GHSA-fx35-mq7g-6g98."""
    from assay.formats.public_key import der_of

    def swap(document: dict[str, Any]) -> None:
        raw = {"rawBytes": dsse.encode_base64(der_of(scene.key.public))}
        material = document["verificationMaterial"]
        document["verificationMaterial"] = {**material, "certificate": raw}

    with pytest.raises(NotVerified, match="does not verify"):
        check(changed(scene.keyless, swap), scene.trust())
    keyed_as_certificate = changed(scene.logged, lambda it: (swap(it), it["verificationMaterial"].pop("publicKey")))
    with pytest.raises(NotVerified, match="does not verify"):
        check(keyed_as_certificate, scene.trust())


def test_a_certificate_where_a_key_is_trusted(scene: Scene) -> None:
    trust = trust_in(scene.signer)
    with pytest.raises(NotVerified, match="carries a certificate"):
        check(scene.keyless, trust)
    both = changed(scene.keyless, lambda it: it["verificationMaterial"].update(publicKey={"hint": scene.key.keyid}))
    with pytest.raises(NotVerified, match="not exactly one"):
        check(both, scene.trust())


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
def test_the_log_entry_of_another_artifact(scene: Scene, bundle: str) -> None:
    """cosign CVE-2026-22703."""
    entries = json.loads(scene.keyless_other)["verificationMaterial"]["tlogEntries"]
    foreign = changed(getattr(scene, bundle), lambda it: it["verificationMaterial"].update(tlogEntries=entries))
    with pytest.raises(NotVerified, match=r"inconsistent with other materials|about another signature"):
        check(foreign, scene.trust())


def _entry(part: str) -> Any:
    def change(document: dict[str, Any]) -> None:
        entry = document["verificationMaterial"]["tlogEntries"][0]
        proof = entry["inclusionProof"]
        if part == "body":
            body = base64.b64decode(entry["canonicalizedBody"]).replace(b"SHA2_256", b"SHA2_257")
            entry["canonicalizedBody"] = base64.b64encode(body).decode()
        elif part == "root":
            proof["rootHash"] = base64.b64encode(b"r" * 32).decode()
        elif part == "index":
            proof["logIndex"] = str(int(proof["logIndex"]) + 1)
        elif part == "checkpoint":
            text = proof["checkpoint"]["envelope"]
            proof["checkpoint"]["envelope"] = text.replace("\n", "x\n", 1)
        elif part == "none":
            document["verificationMaterial"]["tlogEntries"] = []
        elif part == "junk":
            document["verificationMaterial"]["tlogEntries"] = [{}]
        else:
            document["verificationMaterial"]["tlogEntries"] = [entry, entry]

    return change


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
@pytest.mark.parametrize("part", ["body", "root", "index", "checkpoint", "none", "junk"])
def test_a_changed_log_entry(scene: Scene, bundle: str, part: str) -> None:
    with pytest.raises(NotVerified):
        check(changed(getattr(scene, bundle), _entry(part)), scene.trust(log_required=True))


def test_a_log_entry_twice(scene: Scene) -> None:
    with pytest.raises(NotVerified):
        check(changed(scene.keyless, _entry("twice")), scene.trust())


def test_our_own_reader_wants_one_entry_and_a_time(scene: Scene) -> None:
    """The client refuses those bundles before it; nothing rests on that alone."""
    root = read_root(json.dumps(scene.lab.trusted_root))
    logged = LoggedSignature(b"s", b"d" * 32, certificate_der=b"c")
    opened = sigstore_bundle.decode(scene.keyless)
    assert isinstance(opened.material, sigstore_bundle.CertificateMaterial)
    for entries in ((), opened.entries * 2):
        with pytest.raises(NotVerified, match="has one log entry"):
            place_and_time(entries, opened.stamps, logged, root)
    mine = LoggedSignature(
        opened.envelope.signature,
        hashlib.sha256(opened.envelope.signed).digest(),
        certificate_der=opened.material.certificates[0],
    )
    assert place_and_time(opened.entries, opened.stamps, mine, root)
    with pytest.raises(NotVerified, match="no time is proved"):
        place_and_time(opened.entries, (), mine, root)


def test_a_log_and_a_stamp_of_strangers(scene: Scene) -> None:
    with SigstoreLab() as other:
        strange = trust_file(other, keys=(scene.key.model_copy(update={"sigstore": "lab", "log_required": True}),))
        with pytest.raises(NotVerified, match="time stamp, and not of an authority of 'lab'"):
            check(scene.logged, strange)
        unstamped = changed(scene.logged, lambda it: it["verificationMaterial"].pop("timestampVerificationData"))
        with pytest.raises(NotVerified, match="not signed by a log of the trusted root"):
            check(unstamped, strange)
        with pytest.raises(NotVerified, match="does not verify"):
            check(scene.keyless, strange)


@pytest.mark.parametrize("what", ["log", "stamper"])
@pytest.mark.parametrize(
    ("window", "refused"),
    [
        (lambda when: {"start": when + DAY}, True),
        (lambda when: {"start": when - DAY, "end": when - timedelta(seconds=1)}, True),
        (lambda when: {"start": when - DAY, "end": when}, False),
        (lambda when: {"end": when + DAY}, True),
        (lambda when: {}, True),
    ],
    ids=["not yet", "no more", "the last second", "no beginning", "nothing"],
)
def test_keys_of_services_count_for_their_time(scene: Scene, what: str, window: Any, refused: bool) -> None:
    """A log's key and a time stamp authority of the trusted root, by the time that is proved."""
    when = check(scene.logged, scene.trust()).time.when
    root = json.loads(json.dumps(scene.lab.trusted_root))
    place = root["tlogs"][0]["publicKey"] if what == "log" else root["timestampAuthorities"][0]
    place["validFor"] = {name: time.isoformat() for name, time in window(when).items()}
    named = services(scene.lab).model_copy(update={"trusted_root": json.dumps(root)})
    trust = scene.trust(log_required=True).model_copy(update={"sigstore": (named,)})
    if not refused:
        assert check(scene.logged, trust).place is not None
        return
    with pytest.raises(NotVerified, match=r"not signed by a log|not of an authority|malformed"):
        check(scene.logged, trust)


@pytest.mark.parametrize("bundle", ["keyless", "keyed"])
def test_a_key_of_json_twice(scene: Scene, bundle: str) -> None:
    data: bytes = getattr(scene, bundle)
    for name in (b'"payload"', b'"mediaType"', b'"sig"'):
        member = re.search(name + rb':\s*"[^"]*"', data)
        assert member is not None
        with pytest.raises(NotVerified, match="there twice"):
            check(data.replace(member[0], member[0] + b"," + member[0], 1), scene.trust())


def test_a_key_of_json_twice_in_the_statement(scene: Scene) -> None:
    twice = statement().replace(b'"predicateType"', b'"predicateType":"x","predicateType"')
    for bundle in (sign_keyless(scene.lab, twice), scene.signer.sign_statement(Role.BUILDER, twice)):
        with pytest.raises(NotVerified, match="there twice"):
            check(bundle, scene.trust())


@pytest.mark.parametrize("bundle", ["keyless", "keyed"])
def test_url_safe_base64(scene: Scene, bundle: str) -> None:
    def change(document: dict[str, Any]) -> None:
        signature = document["dsseEnvelope"]["signatures"][0]
        raw = base64.b64decode(signature["sig"])
        signature["sig"] = base64.urlsafe_b64encode(raw[:-3] + b"\xff\xff\xff").decode()

    with pytest.raises(NotVerified, match="base64"):
        check(changed(getattr(scene, bundle), change), scene.trust())


def test_a_certificate_that_had_expired_when_it_was_signed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the time stamp authority says when; ours does not matter."""
    monkeypatch.setattr(scene.lab.stamper, "clock", lambda: datetime.now(UTC) + timedelta(hours=1))
    late = sign_keyless(scene.lab, statement())
    with pytest.raises(NotVerified, match="cert is not valid at validation time"):
        check(late, scene.trust())


def test_a_certificate_that_was_not_valid_yet_when_it_was_signed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "BACKDATED", -timedelta(minutes=1))
    early = sign_keyless(scene.lab, statement())
    with pytest.raises(NotVerified, match="cert is not valid at validation time"):
        check(early, scene.trust())


def test_a_time_stamp_from_before_its_authority(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.lab.stamper, "clock", lambda: datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(NotVerified, match="not enough sources of verified time"):
        check(sign_keyless(scene.lab, statement()), scene.trust())


def test_no_time_stamp(scene: Scene) -> None:
    with pytest.raises(NotVerified, match="promise or signed timestamp"):
        check(
            changed(scene.keyless, lambda it: it["verificationMaterial"].pop("timestampVerificationData")),
            scene.trust(),
        )


def test_the_time_stamp_of_another_signature(scene: Scene) -> None:
    stamps = json.loads(scene.keyless_other)["verificationMaterial"]["timestampVerificationData"]
    foreign = changed(scene.keyless, lambda it: it["verificationMaterial"].update(timestampVerificationData=stamps))
    with pytest.raises(NotVerified, match="time"):
        check(foreign, scene.trust())


@pytest.mark.parametrize(
    ("bundle", "limits", "refused"),
    [
        ("logged", {"valid_until": NOW - DAY}, "is not trusted for .* time stamp"),
        ("logged", {"valid_from": NOW + DAY}, "is not trusted for .* time stamp"),
        ("keyed", {"valid_until": NOW}, "no time stamp says it is older"),
        ("keyed", {"valid_from": NOW + 9 * DAY}, "is not trusted for"),
        ("keyed", {"revoked": True}, "is revoked"),
        ("logged", {"revoked": True}, "is revoked"),
        ("keyed", {"log_required": True}, "is not in the log of 'lab'"),
        ("keyed", {"predicate_types": (PredicateType.SBOM.value,)}, "may not make statements of the type"),
        ("keyed", {"modules": ("pump",)}, "about pump, not about the module 'blinky'"),
    ],
)
def test_limits_of_a_key(scene: Scene, bundle: str, limits: dict[str, Any], refused: str) -> None:
    with pytest.raises(NotVerified, match=refused):
        check(getattr(scene, bundle), scene.trust(**limits))


def test_limits_that_hold(scene: Scene) -> None:
    limits = {"valid_from": NOW - DAY, "valid_until": NOW + DAY, "modules": ("blinky",)}
    check(scene.logged, scene.trust(**limits))
    check(scene.keyed, scene.trust(**limits), at=NOW)
    with pytest.raises(NotVerified, match="no time is proved"):
        check(scene.keyed, scene.trust(**limits), at=None)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"revoked": True}, "is revoked"),
        ({"valid_until": NOW - DAY}, "is not trusted for"),
        ({"modules": ("pump",)}, "not about the module 'blinky'"),
        ({"issuer": "https://accounts.example"}, "does not trust"),
        ({"san": WHO + "x"}, "does not trust"),
        ({"san": None, "san_pattern": "https://ci.example/project/*"}, "does not trust"),
        ({"role": Role.STATION}, "names no identity for builder"),
    ],
)
def test_limits_of_an_identity(scene: Scene, changes: dict[str, Any], refused: str) -> None:
    with pytest.raises(NotVerified, match=refused):
        check(scene.keyless, trust_file(scene.lab, identity(scene.lab, **changes)))


def test_a_pattern_that_fits(scene: Scene) -> None:
    wide = identity(scene.lab, san=None, san_pattern="https://ci.example/project/*@refs/heads/*")
    check(scene.keyless, trust_file(scene.lab, wide))


def test_the_right_signer_in_the_wrong_role(scene: Scene) -> None:
    station = scene.signer.sign_statement(Role.STATION, statement())
    with pytest.raises(NotVerified, match="must be signed by builder"):
        check(station, trust_in(scene.signer))
    with pytest.raises(NotVerified, match="a field key may not sign"):
        verify_statement(
            scene.signer.sign_statement(Role.FIELD, statement()),
            trust_in(scene.signer),
            role=Role.FIELD,
            predicate_types={KIND},
        )


@pytest.mark.parametrize("bundle", ["keyless", "keyed", "logged"])
def test_a_clock_at_1970(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="the clock is wrong"):
        check(getattr(scene, bundle), scene.trust(), at=datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
def test_asked_for_a_time_before_it_was_signed(scene: Scene, bundle: str) -> None:
    with pytest.raises(NotVerified, match="after the time of asking"):
        check(getattr(scene, bundle), scene.trust(), at=NOW - DAY)


def test_a_clock_that_is_a_little_behind(scene: Scene) -> None:
    """Two machines' clocks differ by seconds; what was just signed is not refused for it."""
    when = check(scene.keyless, scene.trust()).time.when
    check(scene.keyless, scene.trust(), at=when - timedelta(minutes=4))
    with pytest.raises(NotVerified, match="after the time of asking"):
        check(scene.keyless, scene.trust(), at=when - timedelta(minutes=6))


def test_a_threshold_of_distinct_signers(scene: Scene) -> None:
    wants_two = scene.trust().model_copy(update={"thresholds": (Threshold(predicate_type=KIND.value, count=2),)})

    def both(*bundles: bytes) -> None:
        verify_statements(bundles, wants_two, role=Role.BUILDER, predicate_types={KIND}, subject_sha256=SHA256)

    both(scene.keyless, scene.keyed)
    with pytest.raises(NotVerified, match=r"wants 2 distinct signers .* there is 1"):
        check(scene.keyless, wants_two)
    again = scene.signer.sign_statement(Role.BUILDER, statement())
    for twice in ((scene.keyed, again), (scene.keyed, scene.logged), (scene.keyless, scene.keyless)):
        with pytest.raises(NotVerified, match="there is 1"):
            both(*twice)
    with pytest.raises(NotVerified, match="different subjects"):
        verify_statements(
            (scene.keyless, scene.signer.sign_statement(Role.BUILDER, statement(sha256="ab" * 32))),
            wants_two,
            role=Role.BUILDER,
            predicate_types={KIND},
        )


def test_one_key_by_two_names_counts_once(scene: Scene) -> None:
    key = scene.key
    named_twice = trust_in(scene.signer).model_copy(
        update={
            "keys": (key, key.model_copy(update={"name": "another"})),
            "thresholds": (Threshold(predicate_type=KIND.value, count=2),),
        }
    )
    with pytest.raises(NotVerified, match="there is 1"):
        verify_statements((scene.keyed, scene.keyed), named_twice, role=Role.BUILDER, predicate_types={KIND})


@pytest.mark.parametrize("change", [lambda it: b"", lambda it: b"\xef\xbb\xbf" + it, lambda it: b"z" + it[1:]])
def test_what_is_no_bundle_any_more_is_refused(scene: Scene, change: Any) -> None:
    """The first byte is no better than the others."""
    assert kind_of(scene.keyed) == "statement"
    with pytest.raises(NotVerified, match="neither an export"):
        kind_of(change(scene.keyed))


@pytest.mark.parametrize("bundle", ["keyless", "logged"])
def test_bytes_changed_anywhere_are_refused_or_change_nothing(scene: Scene, bundle: str) -> None:
    """A bundle is malleable outside of what is signed: then the answer is the very same one."""
    data: bytes = getattr(scene, bundle)
    trust, good = scene.trust(log_required=True), check(data, scene.trust(log_required=True))
    for place in range(0, len(data), 7):
        bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            found = check(bad, trust)
        except Refused:
            continue
        assert found == good, bad[place - 40 : place + 40]


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_older_bundles(scene: Scene, version: str) -> None:
    """Before v0.3 a chain stands for the certificate; v0.1 wants a promise of the log, which Rekor v2 does not make."""

    def older(document: dict[str, Any]) -> None:
        document["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
        leaf = document["verificationMaterial"].pop("certificate")
        document["verificationMaterial"]["x509CertificateChain"] = {"certificates": [leaf]}

    bundle = changed(scene.keyless, older)
    if version == "0.2":
        assert check(bundle, scene.trust()).signer.name == "ci"
    else:
        with pytest.raises(NotVerified, match="inclusion promise"):
            check(bundle, scene.trust())
    new_kind = changed(bundle, lambda it: it.update(mediaType=sigstore_bundle.MEDIA_TYPE))
    with pytest.raises(NotVerified, match="malformed"):
        check(new_kind, scene.trust())
    keyed = changed(
        scene.logged, lambda it: it.update(mediaType=f"application/vnd.dev.sigstore.bundle+json;version={version}")
    )
    assert check(keyed, scene.trust()).place is not None


@pytest.mark.parametrize("what", ["good", "changed", "junk"])
def test_the_command(tmp_path: Path, scene: Scene, what: str) -> None:
    write_trust(tmp_path / "trust.toml", scene.trust(), replace=False)
    data = {"good": scene.keyless, "changed": changed(scene.keyless, _entry("root")), "junk": b'{"a": [}'}[what]
    (tmp_path / "bundle.json").write_bytes(data)
    (tmp_path / "second.json").write_bytes(scene.keyed)
    words = [str(tmp_path / "bundle.json"), "--trust", str(tmp_path / "trust.toml"), "--json"]
    done = CliRunner().invoke(verify, words)
    document = json.loads(done.stdout)
    assert done.exit_code == (0 if what == "good" else 4) and "Traceback" not in done.output
    if what == "good":
        assert WHO in done.stdout
        (signed,) = document["signed"]
        assert (signed["san"], signed["issuer"]) == (WHO, scene.lab.url) and signed["log"][
            "log"
        ] == scene.lab.log.origin
        assert signed["time"]["source"] == f"{scene.lab.url}/tsa"
    else:
        assert document["broken"][0]["faults"]
    early = CliRunner().invoke(verify, [*words, "--at", "2026-02-01T00:00:00Z"])
    assert early.exit_code == 4
    wrong = CliRunner().invoke(verify, [*words, "--at", "yesterday"])
    assert wrong.exit_code == 2
    two = CliRunner().invoke(verify, [words[0], str(tmp_path / "second.json"), *words[1:]])
    assert two.exit_code == (0 if what == "good" else 4)


def test_what_is_neither_a_file_nor_anything_else(tmp_path: Path, scene: Scene) -> None:
    write_trust(tmp_path / "trust.toml", scene.trust(), replace=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "page").write_text("text")
    trust = ["--trust", str(tmp_path / "trust.toml"), "--site", str(tmp_path / "site")]
    for what, status in (("SN-0001", 4), ("a@1.0.0", 2), ("./none.json", 2), (str(tmp_path / "page"), 4), ("", 2)):
        said = CliRunner().invoke(verify, [what, *trust])
        assert said.exit_code == status and "Traceback" not in said.output, (what, said.output)


def test_services_that_a_trust_file_does_not_have(scene: Scene) -> None:
    lost = trust_file(scene.lab, sigstore=(services(scene.lab, "another"),))
    with pytest.raises(NotVerified, match="names no services 'lab'"):
        check(scene.keyless, lost)


@pytest.mark.parametrize(("module", "bundle"), [("sigstore.models", "keyless"), ("rfc3161_client", "logged")])
def test_without_the_extra_the_line_that_installs_it_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, module: str, bundle: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolMissing, match=r"assay\[sigstore\]"):
        check(getattr(scene, bundle), scene.trust())
