"""The command ``koboldfs``: the group, and the rim where every error becomes one line.

Exit status: 0 done, 1 not done (one line on stderr says why), 2 wrong usage, 130 ended
by Ctrl-C, 143 by SIGTERM. Heavy modules are loaded by the commands that need them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from koboldfs.cli import admin, adopt, checks, files, scrub, status, why
from koboldfs.cli.context import (
    Context,
    domain_option,
    json_option,
    servers_option,
    timeout_option,
    trackers_option,
)
from koboldfs.cli.output import meaning, printable
from koboldfs.version import __version__

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
SHARED = ("servers", "trackers", "domain")


class Command(click.Group):
    """A group whose `main` ends the process with the right status and no traceback.

    Commands are listed in the order in which they were added.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Those for files first."""
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and exit."""
        with _ending_on_sigterm():
            sys.exit(self.status(args, prog_name or "koboldfs", complete_var, **extra))

    def status(
        self,
        args: Sequence[str] | None,
        prog_name: str,
        complete_var: str | None,
        **extra: Any,
    ) -> int:
        """Run the command line; returns the exit status."""
        from koboldfs.errors import KoboldError

        try:
            done = super().main(
                args, prog_name, complete_var, standalone_mode=False, **extra
            )
            sys.stdout.flush()
        except click.exceptions.Exit as end:
            return end.exit_code
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except click.UsageError as error:
            error.show()
            return 2
        except click.ClickException as error:
            return complain(error.format_message())
        except BrokenPipeError:
            # Whoever read our output has enough. Python would complain at its end.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except KoboldError as error:
            return complain(error.message)
        except OSError as error:
            return complain(str(error) if _is_clients(error) else _os_text(error))
        except Exception as error:
            if _is_clients(error):
                return complain(str(error))
            return complain(f"a defect: {type(error).__name__}: {error}")
        return done if isinstance(done, int) else 0


def _is_clients(error: Exception) -> bool:
    """Whether the Python client raised it on purpose: its message is for people."""
    from koboldfs.native_client import ClientError

    return isinstance(error, ClientError)


def complain(text: str) -> int:
    """Say on one line of stderr why it was not done; returns the exit status 1."""
    line = printable(meaning(" ".join(text.split())))
    with contextlib.suppress(OSError):
        click.echo(f"koboldfs: {line}", err=True)
    return 1


def _os_text(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    name = error.filename
    return f"{os.fsdecode(name)}: {reason}" if isinstance(name, str | bytes) else reason


@contextlib.contextmanager
def _ending_on_sigterm() -> Any:
    """SIGTERM unwinds as an exception does, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(
    "koboldfs",
    cls=Command,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": None,
        "max_content_width": 88,
    },
)
@servers_option
@domain_option
@trackers_option
@timeout_option
@json_option
@click.version_option(__version__, prog_name="koboldfs", message="%(prog)s %(version)s")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Store files in a KoboldFS cluster, and look after it.

    \b
    Files need a domain:  koboldfs --domain demo put report.pdf reports/2026
                          koboldfs --domain demo get reports/2026 copy.pdf
    The cluster:          koboldfs status
                          koboldfs admin host list
    No cluster yet:       koboldfs demo

    The options below may stand before the command or after it. Exit status: 0 done, 1
    not done (one line on stderr says why), 2 wrong usage.
    """
    ctx.ensure_object(Context)


@click.command("demo")
@click.option("--once", is_flag=True, help="End after the tour instead of staying up.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Keep the cluster's data in this folder, which must be new or empty.",
)
def demo(once: bool, keep: str | None) -> int:
    """Run a cluster of three nodes in this terminal, with a tour.

    A tracker and three storage nodes on 127.0.0.1, 127.0.0.2 and 127.0.0.3: real
    processes, one of which is killed, and every byte is compared. The cluster then
    stays up until Ctrl-C.
    """
    from koboldfs.demo.tour import run

    return run(once=once, keep=keep)


for part in (
    *(*files.COMMANDS, status.status, *why.COMMANDS),
    *(admin.admin, *checks.COMMANDS, scrub.scrub),
    *(adopt.adopt, demo),
):
    command.add_command(part)
for parameter in command.params:
    if parameter.name in SHARED:
        parameter.envvar = f"KOBOLDFS_{parameter.name.upper()}"


def main() -> NoReturn:
    """The entry point of the ``koboldfs`` script."""
    command.main()


if __name__ == "__main__":
    main()
