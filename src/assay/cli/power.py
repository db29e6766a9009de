# SPDX-License-Identifier: Apache-2.0
"""`assay power`: switch a place's power, whatever its switch is.

Guards: the place is ours while it is switched: nobody's test loses its power by our hand.
"""

from __future__ import annotations

from pathlib import Path

import click

from assay.cli.place_names import complete_place
from assay.cli.session import Answer, Session, verb

FILE = click.Path(path_type=Path, dir_okay=False)
ACTIONS = ("on", "off", "cycle", "cut", "status")


@click.command()
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("place", shell_complete=complete_place)
@click.option(
    "--off-time", "off_s", type=click.FloatRange(min=0, max=3600), default=1.0, help="Seconds off in a cycle."
)
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=0.0, help="Seconds to wait for the place.")
@click.option(
    "--bench",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The bench file [default: bench.toml of the project].",
)
@verb
def command(session: Session, action: str, place: str, off_s: float, wait_s: float, bench: Path | None) -> Answer:
    """Switch the power of PLACE: on, off, cycle, cut (off at once), or ask for its status."""
    from assay.pipeline.place_check import check_place
    from assay.pipeline.places import open_power

    name = f"power {action}"
    check_place(place, bench=bench, say=session.say)
    with open_power(session.site, place, verb=name, wait_s=wait_s, bench=bench, say=session.say) as power:
        if action == "cycle":
            power.cycle(off_s)
        elif action != "status":
            {"on": power.on, "off": power.off, "cut": power.cut}[action]()
        on = power.is_on()
    return Answer(f"{place}: power {'on' if on else 'off'}", {"place": place, "power": "on" if on else "off"})
