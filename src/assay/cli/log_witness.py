# SPDX-License-Identifier: Apache-2.0
"""`assay log witness` and `assay log cosign`: the two sides of a cosignature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assay.cli.session import Answer, Session, verb
from assay.errors import Interrupted, UsageFault, gravest

if TYPE_CHECKING:
    from assay.pipeline.log_cosign import Cosigned
    from assay.stages.records.witness import WitnessDesk

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("witness")
@click.argument("folders", nargs=-1, type=FOLDER)
@click.option("--trust", "trust_path", type=FILE, envvar="ASSAY_TRUST", help="Which logs are cosigned [ASSAY_TRUST].")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port [default: any that is free].")
@click.option("--vkey", is_flag=True, help="Print the verifier key of this witness, for a witness policy.")
@verb
def witness(
    session: Session, folders: tuple[Path, ...], trust_path: Path | None, host: str, port: int, vkey: bool
) -> Answer:
    """Be a witness of the logs in a trust file: cosign each checkpoint that continues the last one that was cosigned.

    With FOLDERs (copies of the log/ of a site, on a stick) each is cosigned, and the cosignature is left there.
    Without, `add-checkpoint` of c2sp.org/tlog-witness is served until the witness is told to end.
    """
    from assay.pipeline.log_cosign import cosign_folder
    from assay.pipeline.log_witness import open_desk, own_vkey

    if vkey:
        text = own_vkey(session.site)
        return Answer(text, {"vkey": text})
    if trust_path is None:
        raise UsageFault("a witness needs to know whose logs it cosigns", remedy="name a trust file: --trust FILE")
    desk = open_desk(session.site, trust_path)
    if folders:
        done = [cosign_folder(desk, folder) for folder in folders]
        return Answer("\n".join(map(_line, done)), {"vkey": str(desk.key), "cosigned": list(map(_json, done))})
    return _serve(session, desk, host, port)


@click.command("cosign")
@click.option("--witness", "policy_path", type=FILE, required=True, help="A witness policy: whom to ask.")
@click.option("--from", "sticks", type=FOLDER, multiple=True, help="A copy of log/ that came back from a witness.")
@verb
def cosign(session: Session, policy_path: Path, sticks: tuple[Path, ...]) -> Answer:
    """Have the newest checkpoint of this site's log cosigned by the witnesses of a policy; it is kept in log/cosigned.

    A witness that has seen more of this log, or another history of it, is a refusal (status 4).
    """
    from assay.pipeline.log_cosign import cosign as cosign_log
    from assay.pipeline.witness_policy import load_policy

    policy = load_policy(policy_path)
    if not (session.site_dir / "log").is_dir():
        raise UsageFault(f"there is no log in {session.site_dir}", remedy="name the site with --site or ASSAY_SITE")
    found = cosign_log(session.site.records.log, session.site.recorder.trusted_log().vkey, policy, sticks)
    statuses = [each.error.status for each in found if each.error is not None]
    return Answer("\n".join(map(_line, found)), {"witnesses": list(map(_json, found))}, gravest(statuses))


def _serve(session: Session, desk: WitnessDesk, host: str, port: int) -> Answer:
    from assay.backends.logs.witness_server import WitnessServer

    server = WitnessServer(host, port, desk.add_checkpoint, session.say)
    url = f"http://{host}:{server.port}"
    session.say(f"witness {desk.key.name} at {url}")
    session.say(f"  vkey {desk.key}")
    try:
        server.serve()
    except Interrupted as end:
        if end.signal_name == "SIGHUP":
            raise
    finally:
        server.close()
    return Answer("the witness has ended", {"vkey": str(desk.key), "url": url})


def _line(each: Cosigned) -> str:
    if each.error is not None:
        return f"NOT COSIGNED by {each.name}: {each.error}"
    return f"{each.name} cosigned {each.size} entries"


def _json(each: Cosigned) -> dict[str, Any]:
    document: dict[str, Any] = {"witness": each.name, "size": each.size, "time": each.time_s}
    if each.error is not None:
        document |= {"error": each.error.message, "remedy": each.error.remedy}
    return document
