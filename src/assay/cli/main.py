# SPDX-License-Identifier: Apache-2.0
"""The `assay` command: a table of verbs, each imported only when it is used.

Guards: `assay --help` and `--version` import click and nothing of ours but this file.
"""

from __future__ import annotations

import importlib
import sys

import click

from assay import __version__

VERBS: dict[str, str] = {
    "bench": "Places of this host: list them, see who holds them.",
    "build": "Build a module twice and compare.",
    "doctor": "Say what this machine lacks, and how to install it.",
    "evidence": "Ask a unit what it runs, and verify its answer.",
    "flash": "Write a release to a unit and read its hash back.",
    "keys": "Make keys, show public keys, write a trust file.",
    "log": "Verify the audit log, show entries.",
    "provision": "Give a blank unit its firmware, its identity and its serial number.",
    "publish": "Publish a signed image with its attestations.",
    "run": "Run a pipeline.",
    "schema": "Write the JSON Schemas of the manifests.",
    "sign": "Sign a built artifact and attest how it was built.",
    "test": "Test a unit, and sign what the tests found.",
    "trace": "Show the verified history of a serial number.",
    "twin": "Emulated boards: create, start, stop, cut the power.",
    "update": "Bring a unit to another release, with rollback.",
    "verify": "Verify an exported trace, a bundle or an image.",
}


class LazyVerbs(click.Group):
    """Commands by name; the module `assay.cli.<verb>` offers its command as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"assay.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(VERBS.items()))


@click.command(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="assay")
def main() -> None:
    """From firmware source to serial number to field, with one verifiable chain for each unit.

    Exit status: 0 PASS, 1 FAIL, 2 usage or manifest, 3 ERROR (infrastructure), 4 REFUSED, 5 NOT RECORDED.
    """


def run() -> None:
    """Entry point of the `assay` command."""
    main.main(args=sys.argv[1:], prog_name="assay")
