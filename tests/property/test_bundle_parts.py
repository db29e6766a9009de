# SPDX-License-Identifier: Apache-2.0
"""Bundles, log entries, time stamps and trusted roots of any shape: verified, or `NotVerified`, and nothing else."""

from __future__ import annotations

import copy
import functools
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.backends.logs.rekor_client import services_of
from assay.errors import NotVerified
from assay.formats import sigstore_bundle, time_stamps, trusted_root
from assay.formats.statement_verifier import verify_statement
from assay.model.statement import PredicateType
from assay.model.trust import Role, TrustFile
from assay.pipeline.log_submit import log_bundle
from assay.simulation.sigstore_lab.lab import SigstoreLab

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from keyless_bench import identity, services, sign_keyless, statement
from memory_signer import MemorySigner

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
ANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def _made() -> tuple[bytes, bytes, TrustFile, str]:
    signer = MemorySigner()
    key = signer.public_key(Role.BUILDER)
    with SigstoreLab() as lab:
        keyless, root = sign_keyless(lab, statement()), json.dumps(lab.trusted_root)
        keyed = signer.sign_statement(Role.BUILDER, statement())
        logged, _ = log_bundle(keyed, key, services_of(lab.trust_config), root)
        trusted = key.model_copy(update={"sigstore": "lab", "log_required": True})
        trust = TrustFile(
            schema="assay.trust/1",
            name="any",
            allow_development=True,
            keys=(trusted,),
            sigstore=(services(lab),),
            identities=(identity(lab),),
        )
    return keyless, logged, trust, root


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, item in items for found in _paths(item, (*path, key))]


def _put(document: Any, path: tuple[Any, ...], value: Any) -> bytes:
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(changed).encode()


def _asked(bundle: bytes) -> None:
    trust = _made()[2]
    try:
        found = verify_statement(bundle, trust, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})
    except NotVerified:
        return
    assert found.payload == statement() and found.place is not None


@ANY
@given(st.sampled_from([0, 1]), st.data())
def test_a_bundle_with_anything_anywhere(which: int, data: st.DataObject) -> None:
    document = json.loads(_made()[which])
    path = data.draw(st.sampled_from(_paths(document)))
    _asked(_put(document, path, data.draw(JSON)))


@ANY
@given(st.data())
def test_a_trusted_root_with_anything_anywhere(data: st.DataObject) -> None:
    _, logged, trust, root = _made()
    document = json.loads(root)
    path = data.draw(st.sampled_from(_paths(document)))
    text = _put(document, path, data.draw(JSON)).decode()
    try:
        trusted_root.read(text)
    except NotVerified:
        return
    changed = trust.sigstore[0].model_copy(update={"trusted_root": text})
    trust = trust.model_copy(update={"sigstore": (changed,)})
    try:
        verify_statement(logged, trust, role=Role.BUILDER, predicate_types={PredicateType.RELEASE})
    except NotVerified:
        return


@ANY
@given(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 4))
def test_a_time_stamp_with_other_bytes(share: float, other: bytes, gone: int) -> None:
    _, logged, _, root = _made()
    opened = sigstore_bundle.decode(logged)
    stamp, signature = opened.stamps[0], opened.envelope.signature
    place = int(share * len(stamp))
    bad = stamp[:place] + other + stamp[place + gone :]
    good = time_stamps.proved_times([stamp], signature, trusted_root.read(root))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = time_stamps.proved_times([bad], signature, trusted_root.read(root))
    except NotVerified:
        return
    assert found in ((), good)
