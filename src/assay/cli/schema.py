# SPDX-License-Identifier: Apache-2.0
"""`assay schema`: the JSON Schemas of the manifests, on stdout or as files for an editor."""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.session import Answer, Session, verb

NAMES = (
    "bench",
    "board",
    "keyless",
    "keys",
    "module",
    "pipeline",
    "policy",
    "policy-facts",
    "policy-tests",
    "powercut",
    "product",
    "profile",
    "trust",
    "wire",
    "witnesses",
)


@click.command()
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write NAME.schema.json files to this folder."
)
@verb
def command(_session: Session, name: str | None, out: Path | None) -> Answer:
    """Write the JSON Schemas of the manifests.

    NAME is one manifest; without it all are written. An editor takes them from a line like

    #:schema ../schemas/board.schema.json

    at the top of a TOML file (Even Better TOML, taplo).
    """
    import json

    from assay.stages.manifest.schema_export import schema_text

    wanted = (name,) if name else NAMES
    if out is not None:
        files = _write(out, {each: schema_text(each) for each in wanted})
        return Answer("\n".join(map(str, files)), {"files": [str(file) for file in files]})
    if name:
        return Answer(schema_text(name).rstrip("\n"), {"schema": json.loads(schema_text(name))})
    listing = "\n".join(f"{each}: assay schema {each}" for each in NAMES)
    return Answer(listing, {"schemas": {each: json.loads(schema_text(each)) for each in NAMES}})


def _write(out: Path, texts: dict[str, str]) -> list[Path]:
    from assay.errors import StorageError

    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [out / f"{name}.schema.json" for name in texts]
        for file, text in zip(files, texts.values(), strict=True):
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot write to {out}: {error.strerror}", remedy="name another folder with --out"
        ) from error
    return files
