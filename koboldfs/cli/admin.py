"""``koboldfs admin``: hosts, devices, domains, classes, settings, through trackers."""

from __future__ import annotations

from typing import Any

import click

from koboldfs.cli import output, status
from koboldfs.cli.context import WORD, Context, Failed, pass_context, tracker_options

HOST_STATES = click.Choice(("alive", "readonly", "down", "dead"))
DEVICE_STATES = click.Choice(("alive", "readonly", "drain", "down", "dead"))
HASHES = click.Choice(("MD5", "SHA-1", "NONE"), case_sensitive=False)
PORT = click.IntRange(1, 65535)


class DeviceNumber(click.IntRange):
    """A device: ``3`` or ``dev3``."""

    name = "DEVICE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The number."""
        if isinstance(value, str):
            value = value.removeprefix("dev")
        return super().convert(value, param, ctx)


DEVID = DeviceNumber(1, 2**31 - 1)
#: The copies of a new class; what the tracker takes for its default class.
CLASS_COPIES = 2


def ask(context: Context, word: str, **arguments: object) -> dict[str, str]:
    """Have a tracker do something; with ``--json`` its answer is shown."""
    with context.tracker() as tracker:
        fields = tracker.ask(word, arguments)
    if context.json:
        output.write_json({n: output.word_text(v) for n, v in fields.items()})
    return fields


@click.group()
@tracker_options
def admin() -> None:
    """Change hosts, devices, domains, classes, settings."""


# --- hosts


@admin.group()
def host() -> None:
    """The machines that run storage nodes."""


@host.command("list")
@tracker_options
@pass_context
def host_list(context: Context) -> None:
    """Show all hosts."""
    with context.tracker() as tracker:
        rows = status.hosts(tracker)
    if context.json:
        output.write_json(rows)
    else:
        status.show_hosts(rows)


def _host_options(function: Any) -> Any:
    for option in (
        click.option("--alt-mask", metavar="NET", help="Clients that use --alt-ip."),
        click.option("--alt-ip", metavar="IP", help="A second address, for some."),
        click.option("--get-port", type=PORT, help="Where readers are sent to."),
    ):
        function = option(function)
    return tracker_options(function)


@host.command("add")
@_host_options
@click.option("--ip", required=True, metavar="IP", help="Its address.")
@click.option("--port", type=PORT, default=7500, show_default=True, help="For HTTP.")
@click.option(
    "--state", type=HOST_STATES, default="alive", show_default=True, help="At first."
)
@click.argument("name", type=WORD)
@pass_context
def host_add(context: Context, /, name: str, **options: Any) -> None:
    """Make a host known."""
    ask(context, "create_host", host=name, **_host_arguments(options))


def _modify(context: Context, name: str, **options: Any) -> None:
    arguments = _host_arguments(options)
    if all(value is None for value in arguments.values()):
        raise click.UsageError("nothing to change: give --ip, --port, ...")
    ask(context, "update_host", host=name, **arguments)


def _host_arguments(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "ip": options["ip"],
        "port": options["port"],
        "getport": options["get_port"],
        "altip": options["alt_ip"],
        "altmask": options["alt_mask"],
        "status": options["state"],
    }


for _name, _hidden in (("modify", False), ("update", True)):

    @host.command(_name, hidden=_hidden)
    @_host_options
    @click.option("--ip", metavar="IP", help="Its address.")
    @click.option("--port", type=PORT, help="For HTTP.")
    @click.option("--state", type=HOST_STATES, help="As `host mark`.")
    @click.argument("name", type=WORD)
    @pass_context
    def host_modify(context: Context, /, name: str, **options: Any) -> None:
        """Change what is known of a host."""
        _modify(context, name, **options)


@host.command("mark")
@tracker_options
@click.argument("name", type=WORD)
@click.argument("state", type=HOST_STATES)
@pass_context
def host_mark(context: Context, name: str, state: str) -> None:
    """Set the state of a host: alive, readonly, down or dead."""
    ask(context, "update_host", host=name, status=state)


@host.command("delete")
@tracker_options
@click.argument("name", type=WORD)
@pass_context
def host_delete(context: Context, name: str) -> None:
    """Forget a host that has no devices."""
    ask(context, "delete_host", host=name)


# --- devices


@admin.group()
def device() -> None:
    """The disks of the hosts."""


@device.command("list")
@tracker_options
@click.option("--host", type=WORD, help="Only those of this host.")
@pass_context
def device_list(context: Context, host: str | None) -> None:
    """Show all devices."""
    with context.tracker() as tracker:
        hosts = status.hosts(tracker)
        rows = status.devices(tracker, hosts)
    if host is not None:
        name = output.word_text(host)
        if all(row["host"] != name for row in hosts):
            raise Failed(f"no such host: {output.word_shown(host)}")
        rows = [row for row in rows if row["host"] == name]
    if context.json:
        output.write_json(rows)
    else:
        status.show_devices(rows)


@device.command("add")
@tracker_options
@click.option(
    "--state", type=DEVICE_STATES, default="alive", show_default=True, help="At first."
)
@click.argument("host", type=WORD)
@click.argument("devid", type=DEVID)
@pass_context
def device_add(context: Context, host: str, devid: int, state: str) -> None:
    """Make the device DEVID of HOST known, which is the folder dev<DEVID> there."""
    ask(context, "create_device", hostname=host, devid=devid, state=state)


@device.command("mark")
@tracker_options
@click.argument("host", type=WORD)
@click.argument("devid", type=DEVID)
@click.argument("state", type=DEVICE_STATES)
@pass_context
def device_mark(context: Context, host: str, devid: int, state: str) -> None:
    """Set the state of a device.

    \b
    alive      takes files
    readonly   files are read from it, and nothing else
    drain      takes no new files
    down       is away for a while; its files count as there
    dead       is lost: its files are copied again from elsewhere
    """
    ask(context, "set_state", host=host, device=devid, state=state)


@device.command("weight")
@tracker_options
@click.argument("host", type=WORD)
@click.argument("devid", type=DEVID)
@click.argument("weight", type=click.IntRange(0, 2**31 - 1))
@pass_context
def device_weight(context: Context, host: str, devid: int, weight: int) -> None:
    """Set how much a device is used beside others (100 is the usual)."""
    ask(context, "set_weight", host=host, device=devid, weight=weight)


# --- domains


@admin.group()
def domain() -> None:
    """The name spaces of keys."""


@domain.command("list")
@tracker_options
@pass_context
def domain_list(context: Context) -> None:
    """Show all domains."""
    with context.tracker() as tracker:
        rows = status.domains(tracker)
    if context.json:
        output.write_json(rows)
    else:
        cells = [(row["domain"], len(row["classes"])) for row in rows]
        output.write_table(("DOMAIN", ">CLASSES"), cells)


@domain.command("add")
@tracker_options
@click.argument("name", type=WORD)
@pass_context
def domain_add(context: Context, name: str) -> None:
    """Make a domain."""
    ask(context, "create_domain", domain=name)


@domain.command("delete")
@tracker_options
@click.argument("name", type=WORD)
@pass_context
def domain_delete(context: Context, name: str) -> None:
    """Delete a domain that has neither files nor classes."""
    ask(context, "delete_domain", domain=name)


# --- classes


@admin.group("class")
def class_() -> None:
    """What a domain wants done with some of its files."""


@class_.command("list")
@tracker_options
@click.argument("domain", type=WORD, required=False)
@pass_context
def class_list(context: Context, domain: str | None) -> None:
    """Show the classes of all domains, or of DOMAIN."""
    with context.tracker() as tracker:
        rows = status.domains(tracker)
    if domain is not None:
        name = output.word_text(domain)
        rows = [row for row in rows if row["domain"] == name]
        if not rows:
            raise Failed(f"no such domain: {output.word_shown(domain)}")
    if context.json:
        output.write_json(rows)
    else:
        status.show_classes(rows)


def _class_options(function: Any) -> Any:
    for option in (
        click.option("--hash", type=HASHES, help="The checksum that is kept."),
        click.option("--policy", metavar="POLICY", help="As MultipleHosts(3)."),
    ):
        function = option(function)
    return tracker_options(function)


@class_.command("add")
@_class_options
@click.option(
    "--copies",
    type=click.IntRange(1, 255),
    default=CLASS_COPIES,
    show_default=True,
    help="The least number.",
)
@click.argument("domain", type=WORD)
@click.argument("name", type=WORD)
@pass_context
def class_add(context: Context, /, domain: str, name: str, **options: Any) -> None:
    """Make the class NAME in DOMAIN."""
    ask(context, "create_class", **_class_arguments(domain, name, options))


@class_.command("modify")
@_class_options
@click.option("--copies", type=click.IntRange(1, 255), help="The least number.")
@click.argument("domain", type=WORD)
@click.argument("name", type=WORD)
@pass_context
def class_modify(context: Context, /, domain: str, name: str, **options: Any) -> None:
    """Change the class NAME of DOMAIN; what is not given stays."""
    if all(value is None for value in options.values()):
        raise click.UsageError("nothing to change: give --copies, --policy, --hash.")
    if options["copies"] is None:  # the tracker wants it said each time
        options["copies"] = _copies_now(context, domain, name)
    ask(context, "update_class", **_class_arguments(domain, name, options))


def _copies_now(context: Context, domain: str, name: str) -> int:
    wanted = output.word_text(domain), output.word_text(name)
    with context.tracker() as tracker:
        for row in status.domains(tracker):
            for one in row["classes"]:
                if (row["domain"], one["class"]) == wanted and one["copies"]:
                    return int(one["copies"])
    raise Failed(f"no class {output.word_shown(name)} in {output.word_shown(domain)}")


def _class_arguments(domain: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "domain": domain,
        "class": name,
        "mindevcount": options["copies"],
        "replpolicy": options["policy"],
        "hashtype": options["hash"],
    }


@class_.command("delete")
@tracker_options
@click.argument("domain", type=WORD)
@click.argument("name", type=WORD)
@pass_context
def class_delete(context: Context, domain: str, name: str) -> None:
    """Delete the class NAME of DOMAIN, if it has no files."""
    ask(context, "delete_class", domain=domain, **{"class": name})


# --- settings


@admin.group()
def settings() -> None:
    """What all trackers go by, kept in the database."""


@settings.command("list")
@tracker_options
@pass_context
def settings_list(context: Context) -> None:
    """Show the settings that were set."""
    with context.tracker() as tracker:
        fields = tracker.ask("server_settings")
    count = fields.get("key_count", "0")
    found = [
        (fields[f"key_{i}"], fields.get(f"value_{i}", ""))
        for i in range(1, (int(count) if count.isdigit() else 0) + 1)
        if f"key_{i}" in fields
    ]
    found.sort()
    if context.json:
        pairs = {output.word_text(n): output.word_text(v) for n, v in found}
        output.write_json(pairs)
    else:
        cells = [(output.word_shown(n), output.word_shown(v)) for n, v in found]
        output.write_table(("NAME", "VALUE"), cells)


@settings.command("get")
@tracker_options
@click.argument("name", type=WORD)
@pass_context
def settings_get(context: Context, name: str) -> None:
    """Show one setting; exit status 1 if it is not set."""
    with context.tracker() as tracker:
        value = tracker.ask("server_setting", {"key": name}).get("value", "")
    if context.json:
        pairs = {output.word_text(name): output.word_text(value) or None}
        output.write_json(pairs)
    elif value:
        click.echo(output.word_shown(value))
    if not value:
        raise Failed(f"{output.word_shown(name)} is not set")


@settings.command("set")
@tracker_options
@click.argument("name", type=WORD)
@click.argument("value", type=WORD)
@pass_context
def settings_set(context: Context, name: str, value: str) -> None:
    """Set one setting; an empty VALUE gives it up."""
    ask(context, "set_server_setting", key=name, value=value)
