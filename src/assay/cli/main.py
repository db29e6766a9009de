# SPDX-License-Identifier: Apache-2.0
"""The `assay` command: a table of verbs, each imported only when it is used.

Guards: `assay --help` and `--version` import click and hardly anything of ours; a wrong command line is status 2,
with `--json` as a document too. Leaves to others: what happens once a verb has its options (`cli.session`).
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from assay import __version__
from assay.backends.signers.withheld import withhold
from assay.cli.near_commands import NearCommands
from assay.cli.signals import ignore_signals
from assay.errors import ExitStatus, Interrupted

VERBS: dict[str, str] = {
    "affected": "Say which releases and serial numbers hold a component.",
    "bench": "Places of this host: find boards, list, lock, see who holds them.",
    "build": "Build a module twice and compare.",
    "bundle": "Releases in one file, for a place without a network.",
    "compat": "Show which releases, boards and formats fit together.",
    "completion": "Print the script that completes commands in your shell.",
    "console": "Show what a unit says, with the time; type to it.",
    "doctor": "Say what this machine lacks, and how to install it.",
    "evidence": "Ask a unit what it runs, and verify its answer.",
    "fetch": "Fetch a release from a repository.",
    "flash": "Write a release to a unit and read its hash back.",
    "init": "Start a project that builds, passes its tests and runs on an emulated board.",
    "keys": "Say which key signs what, show public keys, write a trust file.",
    "lab": "A private Sigstore on loopback, for labs and tests.",
    "log": "Verify the audit log, show entries.",
    "oci": "Releases to and from an OCI registry.",
    "migrate": "Bring manifests to the newest version of their format.",
    "policy": "Test, adopt, explain and replay policy packs.",
    "power": "Switch the power of a place.",
    "product": "Choose releases that make up a product.",
    "provision": "Give a blank unit its firmware, its identity and its serial number.",
    "publish": "Publish a signed image with its attestations.",
    "rebuild": "Build a release again from its provenance, and compare.",
    "repo": "The repository of releases: begin, rotate keys, refresh, status.",
    "run": "Run a pipeline.",
    "sbom": "Bills of materials: of boards, what differs, what a vulnerability means.",
    "schema": "Write the JSON Schemas of the manifests.",
    "sign": "Sign a built artifact and attest how it was built.",
    "test": "Test a unit, and sign what the tests found.",
    "trace": "Show the verified history of a serial number.",
    "twin": "Emulated boards: create, start, stop, cut the power.",
    "update": "Bring a unit to another release, with rollback.",
    "verify": "Verify a file, a release or a unit's history.",
    "withdraw": "Withdraw a release, with a reason, for ever.",
}


class LazyVerbs(NearCommands):
    """Commands by name; the module `assay.cli.<verb>` offers its command as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"assay.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs from the table, so that a TAB imports none of them; options as click has them."""
        verbs = [CompletionItem(name, help=text) for name, text in sorted(VERBS.items()) if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]


@click.command(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="assay")
def main() -> None:
    """From firmware source to serial number to field, with one verifiable chain for each unit.

    Exit status: 0 PASS, 1 FAIL, 2 usage or manifest, 3 ERROR (infrastructure), 4 REFUSED, 5 NOT RECORDED.
    """


def run() -> None:
    """Entry point of the `assay` command."""
    _open_what_is_closed()
    withhold()
    arguments = sys.argv[1:]
    colour = False if os.environ.get("NO_COLOR") else None
    try:
        status = main.main(args=arguments, prog_name="assay", standalone_mode=False, color=colour)
    except click.ClickException as fault:
        _leave_usage(fault, as_json="--json" in arguments)
    except (click.Abort, KeyboardInterrupt):  # before a verb was there to turn the signal into its own words
        click.echo("ABORTED: stopped before anything was done", err=True)
        os._exit(ExitStatus.ERROR)  # as in `assay.__main__`
    except Interrupted as late:  # the verb is done: Python's own words would end with status 1, which is FAIL
        click.echo(f"ABORTED: {late} when the work was done, while its answer was told", err=True)
        sys.exit(late.status)
    except BrokenPipeError:  # `assay --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = ExitStatus.PASS
    except OSError as full:  # `assay --help > FILE` on a full disk: with Python's own words it would look like FAIL
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):
            what = full.filename or "the answer cannot be written"
            click.echo(f"ERROR: {what}: {full.strerror}\n  next: free disk space, or mend what is named", err=True)
        status = ExitStatus.ERROR
    finally:
        ignore_signals()
    sys.exit(status or ExitStatus.PASS)


def _open_what_is_closed() -> None:
    """stdin, stdout and stderr are there (`>&-`): else the first file that is opened takes the place of one of them."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            setattr(sys, name, open(descriptor, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115 (for good)


def _leave_usage(fault: click.ClickException, *, as_json: bool) -> None:
    """A wrong command line: click's words on stderr, status 2."""
    if isinstance(fault, click.MissingParameter) and fault.param is not None and fault.param.envvar:
        told = f"Give it, or set {fault.param.envvar}"
        fault = click.MissingParameter(told, ctx=fault.ctx, param=fault.param)
    with suppress(OSError):  # nobody reads stderr; the status still tells
        fault.show()
    if as_json:
        import json

        asked = fault.ctx.command_path if isinstance(fault, click.UsageError) and fault.ctx else "assay"
        document = {"status": 2, "result": "USAGE", "error": fault.format_message(), "remedy": f"see {asked} --help"}
        click.echo(json.dumps(document, ensure_ascii=False))
    sys.exit(ExitStatus.USAGE)
