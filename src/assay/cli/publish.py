# SPDX-License-Identifier: Apache-2.0
"""`assay publish`: put a signed image with its attestations into the store, under its name, version and board."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.policy_words import policy_words, skip_policy
from assay.cli.session import Answer, Session, verb
from assay.cli.working import working

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("signed_dir", type=click.Path(path_type=Path))
@click.option("--repo", is_flag=True, help="Also put it into the site's repository (assay repo init).")
@click.option("--trust", "trust_path", type=FILE, help="Whom to go by; without it this site's own keys.")
@click.option(
    "--beside",
    type=FILE,
    multiple=True,
    help="Another signer's statement about the image, for a trust file that wants several.",
)
@skip_policy
@verb
def command(
    session: Session,
    signed_dir: Path,
    repo: bool,
    trust_path: Path | None,
    beside: tuple[Path, ...],
    unsafe_skip_policy: str | None,
) -> Answer:
    """Publish what `assay sign` left in SIGNED_DIR, and record the release.

    The same image again is fine; another image under the same name, version and board is refused. With --repo again
    after tests, their results are listed with it.
    """
    from assay.pipeline.offline_verify import read_input
    from assay.pipeline.publishing import publish_signed
    from assay.pipeline.repository_publish import publish_to_repository
    from assay.pipeline.trust_anchor import load_anchor

    trust = load_anchor(trust_path)[0] if trust_path is not None else None
    others = [read_input(path) for path in beside]
    with working(session, f"publishing {signed_dir}"):
        published = publish_signed(
            signed_dir, session.site, trust=trust, beside=others, skip_policy=unsafe_skip_policy, say=session.say
        )
        listed = publish_to_repository(session.site, published.release) if repo else None
    release = published.release
    text = "\n".join(
        (
            f"{release.reference} for {release.board}",
            f"  manifest  sha256:{published.manifest_sha256}",
            f"  image     {release.image.file_sha256}",
            f"  policy    {policy_words(published.policy)}",
            f"  log       entry {published.record.index} of {published.record.origin}",
            *(f"  caution   {caution}" for caution in published.cautions),
            *([f"  target    {listed.name}"] if listed else []),
        )
    )
    data = {
        "reference": release.reference,
        "board": release.board,
        "manifest_sha256": published.manifest_sha256,
        "file_sha256": release.image.file_sha256,
        "image_hash": release.image.image_hash,
        "attestations": dict(release.attestations),
        "policy": published.policy.model_dump(mode="json"),
        "record": published.record.model_dump(mode="json"),
        "cautions": list(published.cautions),
    }
    if listed is not None:
        data["target"] = {"name": listed.name, "changed": listed.changed, **listed.target.model_dump(mode="json")}
    return Answer(text, data)
