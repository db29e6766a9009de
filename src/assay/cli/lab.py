# SPDX-License-Identifier: Apache-2.0
"""`assay lab`: services of other people in a box, for labs and tests."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import NoReturn

import click

from assay.cli.near_commands import NearCommands
from assay.cli.session import Answer, Session, verb
from assay.errors import Interrupted, UsageFault

FOLDER = click.Path(path_type=Path, file_okay=False)
LAB_VARIABLE = "ASSAY_LAB"
SUBJECT = "https://lab.example/builder"
"""`pipeline.lab_folder.DEFAULT_SUBJECT`, written out so that `--help` needs no pipeline; a test holds them together."""


@click.group(cls=NearCommands, short_help="A private Sigstore on loopback, for labs and tests.")
def command() -> None:
    """Services in a box, for labs and tests. Nothing here is for production."""


@command.command("sigstore", context_settings={"allow_interspersed_args": False})
@click.argument("folder", type=FOLDER)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port [default: any that is free].")
@verb
def sigstore(session: Session, folder: Path, words: tuple[str, ...], port: int) -> Answer:
    """Serve OIDC, Fulcio, Rekor v2 and a time stamp authority on 127.0.0.1, and write what clients need into FOLDER.

    It is NO PRODUCTION CA: it gives anybody on this machine a certificate for any name, and its keys end with it. With
    a COMMAND it runs while the command does (which finds FOLDER in ASSAY_LAB), and the command's exit status is ours;
    without, until it is told to end. Options come before FOLDER.
    """
    from assay.pipeline.lab_folder import TOKEN, TRUST_CONFIG, open_lab, write_folder

    words = words[1:] if words[:1] == ("--",) else words
    with open_lab(port) as lab:
        try:
            write_folder(folder, lab)
            session.say(
                f"Sigstore lab at {lab.url}: NO PRODUCTION CA, it certifies any name for anybody on this machine"
            )
            session.say(f"  trust config  {folder / TRUST_CONFIG}")
            session.say(f"  token         {folder / TOKEN} [--subject {SUBJECT}]")
            if words:
                _run(folder, words)
            threading.Event().wait()
        except Interrupted as end:
            if words or end.signal_name == "SIGHUP":
                raise
        return Answer("the lab has ended", {"folder": str(folder), "url": lab.url})


@command.command("token")
@click.argument("folder", type=FOLDER)
@click.option("--subject", default=SUBJECT, show_default=True, help="Whom it names: a URI or an e-mail address.")
@verb
def token(_session: Session, folder: Path, subject: str) -> Answer:
    """Print an identity token of the lab that wrote FOLDER."""
    from assay.pipeline.lab_folder import ask_token

    text = ask_token(folder, subject)
    return Answer(text, {"token": text})


def _run(folder: Path, words: tuple[str, ...]) -> NoReturn:
    """Run the command, and leave with its exit status, as a shell has it."""
    environment = {**os.environ, LAB_VARIABLE: str(folder.absolute())}
    try:
        status = subprocess.run(words, env=environment, check=False).returncode
    except OSError as error:
        raise UsageFault(f"{words[0]} cannot be run: {error.strerror}", remedy="check the command") from error
    raise click.exceptions.Exit(status if status >= 0 else 128 - status)
