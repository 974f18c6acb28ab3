"""The roof: options in, a service out.

``twistd koboldfs`` finds this module through its plugin. An option that cannot work
ends the program with exit status 1 and one line that says which and why, whether that
is seen at once or only when ports and folders are opened.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from koboldfs.config import FLAG, OPTIONS, Config, Option, build, merged
from koboldfs.descriptors import raise_limit
from koboldfs.errors import ConfigError
from koboldfs.processes.supervisor import Supervisor

try:
    import resource
except ImportError:  # pragma: no cover - there is none on Windows
    resource = None  # type: ignore[assignment]


class Options(usage.Options):
    """The options of the service, from the one table in `koboldfs.config`."""

    synopsis = "[options]"
    longdesc = (
        "KoboldFS: an application-level distributed file system. In an empty folder, "
        "--tracker --storage --domain demo is a complete one-node system."
    )
    config: Config
    #: The texts that the configuration was made of.
    texts: dict[str, Sequence[str]]

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        super().__init__()

    def parseOptions(self, options: Any = None) -> None:
        """As usual, but whatever is wrong is one line and exit status 1."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _end(str(error).strip().splitlines()[0])

    def parseArgs(self, *words: str) -> None:
        """There are only options."""
        if words:
            raise usage.UsageError(f"{words[0]!r} is no option; see --help")

    def postOptions(self) -> None:
        """Build the configuration."""
        try:
            self.texts = merged(self.given)
            self.config = build(self.texts, host_name=socket.gethostname())
        except ConfigError as error:
            _end(error.message)


def _taker(option: Option) -> Callable[..., None]:
    """What takes one option from the command line; its docstring is its help."""

    def take_value(self: Options, text: str) -> None:
        self.given.setdefault(option.name, []).append(text)

    def take_flag(self: Options) -> None:
        take_value(self, "yes")

    taker: Callable[..., None] = take_flag if option.kind == FLAG else take_value
    taker.__doc__ = f"{option.help} [default: {option.default}]"
    return taker


for _option in OPTIONS:
    # usage.Options looks for methods of the class, one an option.
    setattr(Options, f"opt_{_option.name.replace('-', '_')}", _taker(_option))


def _end(line: str) -> None:
    sys.stderr.write(f"koboldfs: {line}\n")
    raise SystemExit(1)


class KoboldService(Service):
    """Starts an installation, and ends the program if that cannot be done."""

    log = Logger()

    def __init__(self, installation: Any, reactor: Any) -> None:
        self.installation = installation
        self._reactor = reactor
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin; what goes wrong is told in one line, and is the end."""
        _refusing(self.installation.check)
        super().startService()
        _raise_limit(self.log)
        self._reactor.callWhenRunning(_end_once, self._reactor, self.log)
        self._starting = Deferred.fromCoroutine(self.installation.start())
        self._starting.addErrback(self._failed)

    async def stopService(self) -> None:
        """Fires when everything is closed."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        await self.installation.stop()

    def _failed(self, failure: Failure) -> None:
        if not self.running:
            return
        if isinstance(failure.value, ConfigError):
            line = failure.value.message
        else:
            line = f"it could not be started: {failure.getErrorMessage()}"
            self.log.failure("starting failed", failure)
        self.log.critical("{line}", line=line)
        _end_later(line, self._reactor)


class SharedService(Supervisor):
    """Several processes; ends the program if the ports cannot be opened."""

    def privilegedStartService(self) -> None:
        """Open the ports."""
        _refusing(super().privilegedStartService)

    def startService(self) -> None:
        """Start the first process."""
        _raise_limit(self.log)
        self._reactor.callWhenRunning(_end_once, self._reactor, self.log)
        _refusing(super().startService)


def _raise_limit(log: Logger) -> None:
    if resource is not None:
        count = raise_limit(resource)
        log.info("up to {count} descriptors can be open", count=count)


def _end_once(reactor: Any, log: Logger) -> None:
    """The first SIGINT or SIGTERM ends the program as ever; those after it, of an
    operator who is in doubt whether it was heard, would be logged as defects."""
    ended = False

    def handle(
        usual: Callable[[int, FrameType | None], None],
        number: int,
        frame: FrameType | None,
    ) -> None:
        nonlocal ended
        if not ended:
            ended = True
            usual(number, frame)
        else:
            # Not from here: a signal may come in the middle of another log line.
            reactor.callFromThread(log.info, "it is ending already")

    for number in (signal.SIGINT, signal.SIGTERM):
        usual = signal.getsignal(number)
        if callable(usual):
            signal.signal(number, partial(handle, usual))


def _refusing(act: Callable[[], None]) -> None:
    """Do it. An error of the operator's ends the program as an exception: in the
    background that is how twistd's first process hears of it, and says so. In the
    foreground it is one line."""
    try:
        act()
    except ConfigError:
        sys.excepthook = _one_line
        raise


def _one_line(kind: Any, error: BaseException, trace: Any) -> None:
    """What Python says instead of a traceback, see `_refusing`."""
    if isinstance(error, ConfigError):
        sys.stderr = sys.__stderr__
        print(f"koboldfs: {error.message}", file=sys.__stderr__)
    else:
        sys.__excepthook__(kind, error, trace)


def _end_later(line: str, reactor: Any) -> None:
    """End a program that runs already."""
    # By now twistd has put its log in the place of sys.stderr.
    print(f"koboldfs: {line}", file=sys.__stderr__)
    # twistd has no way to say with which status to end; this one runs last.
    atexit.register(_exit_with_one)
    reactor.callWhenRunning(reactor.stop)


def _exit_with_one() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def makeService(options: Options, reactor: Any = None) -> Service:
    """The service that the options ask for; nothing is opened before it starts."""
    if reactor is None:
        from twisted.internet import reactor as the_reactor

        reactor = the_reactor
    config = options.config
    if config.processes > 1:
        return SharedService(
            config, options.texts, reactor, partial(_end_later, reactor=reactor)
        )
    # The parent of several processes needs nothing of this, and should stay small.
    from koboldfs.assembly import Installation

    return KoboldService(Installation(config, reactor), reactor)
