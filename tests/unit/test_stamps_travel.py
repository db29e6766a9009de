# SPDX-License-Identifier: Apache-2.0
"""Archive stamps travel: in an exported history and in a bundle of releases, whose keys count no more by then."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from keyless_bench import services
from published_release import Published
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
from tiny_build import ROOT

from assay.cli.main import main
from assay.errors import NotVerified
from assay.formats import canonical_json, canonical_tar, trace_archive
from assay.formats.archive_stamp import stamped_bytes
from assay.model.trace import Dossier
from assay.model.trust import Asking, Role, TrustFile
from assay.pipeline.bundle_export import export_bundle, find_releases
from assay.pipeline.bundle_import import import_bundle
from assay.pipeline.offline_verify import verify_export
from assay.pipeline.release_gate import verify_release
from assay.pipeline.site import Site
from assay.pipeline.stamp_folder import STAMPS, StampFolder, stamp_path, stamps_of, with_folder
from assay.pipeline.trace_stamps import stamped
from assay.pipeline.trust_file import load_trust, write_trust
from assay.simulation.sigstore_lab.lab import SigstoreLab

FORMATS = ROOT / "tests" / "data" / "formats"


@pytest.fixture(scope="module")
def lab() -> Iterator[SigstoreLab]:
    with SigstoreLab() as lab:
        yield lab


def stamp(lab: SigstoreLab, data: bytes, *earlier: bytes) -> bytes:
    builder = TimestampRequestBuilder().hash_algorithm(HashAlgorithm.SHA256).data(stamped_bytes(data, earlier))
    return lab.stamper.answer(builder.build().as_bytes())


def ended(trust: TrustFile, lab: SigstoreLab, *roles: Role) -> TrustFile:
    """Keys of these roles count until now, by who stamps."""
    until = datetime.now(UTC) + timedelta(seconds=2)
    limit = {"valid_until": until}
    keys = tuple(key.model_copy(update=limit) if key.role in roles else key for key in trust.keys)
    named = trust.model_copy(update={"keys": keys, "sigstore": (services(lab),)})
    return named.asked(Asking(now=lambda: until + timedelta(days=3650)))


@pytest.fixture
def dossier() -> Dossier:
    return trace_archive.decode(lzma.decompress((FORMATS / "assay.export.1.assay.xz").read_bytes()))


def of_records(dossier: Dossier, lab: SigstoreLab) -> dict[str, tuple[bytes, ...]]:
    found = {}
    for record in dossier.records:
        assert record.bundle is not None
        first = stamp(lab, record.bundle)
        found[hashlib.sha256(record.bundle).hexdigest()] = (first, stamp(lab, record.bundle, first))
    return found


def test_an_exported_history_outlives_its_keys(dossier: Dossier, lab: SigstoreLab, tmp_path: Path) -> None:
    roles = (Role.BUILDER, Role.STATION, Role.BENCH, Role.FIELD)
    stamps = of_records(dossier, lab)
    trust = ended(load_trust(FORMATS / "assay.trust.1.toml"), lab, *roles)
    without = verify_export(trace_archive.encode(dossier), trust, "0" * 64)
    assert any("is not trusted for" in fault for node in without.root.broken for fault in node.faults)
    raw = trace_archive.encode(replace(dossier, stamps=stamps))
    trace = verify_export(raw, trust, "0" * 64)
    assert trace.root.broken == ()
    (told,) = [node for node in trace.root.walk() if node.link == "stamps"]
    assert len(told.checks) == len(dossier.records) and "was there at" in told.checks[0].what
    file, by = tmp_path / "unit.assay", tmp_path / "trust.toml"
    file.write_bytes(raw)
    write_trust(by, trust, replace=False)
    words = ["verify", str(file), "--trust", str(by)]
    for at in ("2036-01-01T00:00:00Z", None):
        told = CliRunner().invoke(main, [*words, *(["--at", at] if at else [])])
        assert told.exit_code == 0, told.output


def test_stamps_that_nobody_needs_are_held_against_their_digests(dossier: Dossier, lab: SigstoreLab) -> None:
    """By a trust file that names no services they prove nothing, and that is told."""
    raw = trace_archive.encode(replace(dossier, stamps=of_records(dossier, lab)))
    plain = load_trust(FORMATS / "assay.trust.1.toml")
    trace = verify_export(raw, plain, "0" * 64)
    (told,) = [node for node in trace.root.walk() if node.link == "stamps"]
    assert trace.root.broken == () and not told.checks
    members = canonical_tar.decode(raw)
    name = min(name for name in members if name.startswith("stamps/"))
    changed = members | {name: members[name][:-1] + bytes([members[name][-1] ^ 1])}
    with pytest.raises(NotVerified, match="was changed"):
        verify_export(canonical_tar.encode(changed), plain, "0" * 64)
    with pytest.raises(NotVerified, match="lacks stamps/"):
        verify_export(canonical_tar.encode({key: data for key, data in members.items() if key != name}), plain, "0")
    with pytest.raises(NotVerified, match="one spelling"):
        verify_export(canonical_tar.encode(members | {f"stamps/{'0' * 64}.1.tsr": b"x"}), plain, "0" * 64)
    stray = replace(dossier, stamps={"0" * 64: (b"x",)})
    broken = verify_export(trace_archive.encode(stray), plain, "0" * 64).root.broken
    assert [node.link for node in broken] == ["stamps"]


def test_a_site_has_them_beside_the_trust_file_or_in_its_own_folder(dossier: Dossier, tmp_path: Path) -> None:
    first, second = (hashlib.sha256(record.bundle or b"").hexdigest() for record in dossier.records[:2])
    site, by = tmp_path / "site", tmp_path / "trust" / "trust.toml"
    for folder, sha256 in ((site / STAMPS, first), (site / STAMPS, second), (stamps_of(by), first)):
        folder.mkdir(parents=True, exist_ok=True)
        stamp_path(folder / sha256, 1).write_bytes(folder.parent.name.encode())
    trust = load_trust(FORMATS / "assay.trust.1.toml")
    trust = trust.asked(replace(trust.asking, stamps=StampFolder(stamps_of(by)).of))
    assert stamped(dossier, with_folder(trust, site / STAMPS)).stamps == {first: (b"trust",), second: (b"site",)}


def test_a_bundle_of_releases_outlives_its_keys(published: Published, lab: SigstoreLab, tmp_path: Path) -> None:
    """Gates at the receiver's find the stamps beside his trust file then, whatever the bundle is needed for."""
    made, own, here = published.site, published.site.folder / STAMPS, Site(tmp_path / "here")
    release = made.store.find("tiny", None, "ast1030-evb")
    recorded = [path.read_bytes() for path in (made.folder / "records").iterdir() if path.suffix == ".json"]
    own.mkdir()
    plain, carrying = tmp_path / "plain.tar", tmp_path / "stamped.tar"
    releases = find_releases(made, ["tiny"], None)
    export_bundle(made, releases, plain)
    for each in recorded:
        stamp_path(own / hashlib.sha256(each).hexdigest(), 1).write_bytes(stamp(lab, each))
    export_bundle(made, releases, carrying)
    by = tmp_path / "here.toml"
    trust = ended(published.trust(), lab, Role.BUILDER)
    write_trust(by, trust, replace=False)
    with pytest.raises(NotVerified, match="no time stamp says it is older"):
        import_bundle(here, plain, trust, stamps=stamps_of(by))
    assert import_bundle(here, carrying, trust, keep=False, stamps=stamps_of(by)).stamped >= 3
    assert not stamps_of(by).exists()
    done = import_bundle(here, carrying, trust, stamps=stamps_of(by))
    assert (done.stamped, done.passed_over) == (len(list(stamps_of(by).iterdir())), ())
    later = trust.asked(replace(trust.asking, stamps=StampFolder(stamps_of(by)).of))
    assert verify_release(here.store, later, "tiny", None, published.board).release == release
    before = {path: path.read_bytes() for path in stamps_of(by).iterdir()}
    import_bundle(here, carrying, trust, stamps=stamps_of(by))
    assert before == {path: path.read_bytes() for path in stamps_of(by).iterdir()}


def test_other_stamps_that_lie_here_go_before_those_of_a_bundle(
    published: Published, lab: SigstoreLab, tmp_path: Path
) -> None:
    """An import goes by what gates will go by, with --check too, and says so."""
    made, own, by = published.site, published.site.folder / STAMPS, tmp_path / "here.toml"
    recorded = [path.read_bytes() for path in (made.folder / "records").iterdir() if path.suffix == ".json"]
    own.mkdir()
    for each in recorded:
        stamp_path(own / hashlib.sha256(each).hexdigest(), 1).write_bytes(stamp(lab, each))
    file, here = tmp_path / "stamped.tar", Site(tmp_path / "here")
    export_bundle(made, find_releases(made, ["tiny"], None), file)
    trust = ended(published.trust(), lab, Role.BUILDER)
    write_trust(by, trust, replace=False)
    trust = trust.asked(replace(trust.asking, stamps=StampFolder(stamps_of(by)).of))
    first, *more = (hashlib.sha256(each).hexdigest() for each in recorded)
    stamps_of(by).mkdir()
    good = stamp(lab, recorded[0])
    stamp_path(stamps_of(by) / first, 1).write_bytes(good)
    for keep in (False, True):
        done = import_bundle(here, file, trust, keep=keep, stamps=stamps_of(by))
        assert (done.stamped, done.passed_over, done.other_stamps) == (len(more), (), (first,))
    assert stamp_path(stamps_of(by) / first, 1).read_bytes() == good
    told = CliRunner().invoke(main, ["bundle", "import", str(file), "--trust", str(by), "--site", str(here.folder)])
    assert f"other archive stamps of {first} lie here already" in told.output, told.output
    for sha256 in (first, *more):
        stamp_path(stamps_of(by) / sha256, 1).write_bytes(stamp(lab, b"another file"))
    with pytest.raises(NotVerified, match=r"no time stamp says it is older|is not over this file"):
        import_bundle(Site(tmp_path / "there"), file, trust, stamps=stamps_of(by))


def test_stamps_in_a_bundle_that_prove_nothing(published: Published, lab: SigstoreLab, tmp_path: Path) -> None:
    """Passed over and told where nobody needs them; of nothing in the bundle, or with a gap, they are refused."""
    own, file, here = published.site.folder / STAMPS, tmp_path / "bundle.tar", Site(tmp_path / "here")
    own.mkdir()
    record = next(path for path in (published.site.folder / "records").iterdir() if path.suffix == ".json")
    sha256 = hashlib.sha256(record.read_bytes()).hexdigest()
    stamp_path(own / sha256, 1).write_bytes(stamp(lab, b"another file"))
    export_bundle(published.site, find_releases(published.site, ["tiny"], None), file)
    done = import_bundle(here, file, published.trust(), stamps=tmp_path / STAMPS)
    assert (done.stamped, done.passed_over) == (0, (sha256,))
    assert not (tmp_path / STAMPS).exists()
    shutil.rmtree(here.folder)
    members = canonical_tar.decode(file.read_bytes())
    index = json.loads(members.pop("assay-bundle.json"))
    data = members.pop(f"stamps/{sha256}.1.tsr")
    for name in (f"stamps/{'0' * 64}.1.tsr", f"stamps/{sha256}.2.tsr", f"stamps/{sha256}.33.tsr"):
        files = members | {name: data}
        told = index | {"members": {each: len(content) for each, content in files.items()}}
        file.write_bytes(canonical_tar.encode(files | {"assay-bundle.json": canonical_json.encode(told)}))
        with pytest.raises(NotVerified, match=r"not in it, or not all of them|which none has"):
            import_bundle(here, file, published.trust(), stamps=tmp_path / STAMPS)
        assert not (tmp_path / STAMPS).exists()
