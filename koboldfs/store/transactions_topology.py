"""Transactions on the small tables: hosts, devices, domains, classes, settings.

New numbers are one above the highest. Two trackers that choose the same at once meet
in the unique rules; the one that lost is run again and finds the other's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koboldfs.errors import (
    ClassExists,
    ClassHasFiles,
    ClassNotFound,
    DomainExists,
    DomainHasClasses,
    DomainHasFiles,
    DuplicateRow,
    ExistingDevid,
    HostExists,
    HostNotEmpty,
    UnknownHostid,
    ValueRefused,
)
from koboldfs.model.entities import (
    DEFAULT_CLASSID,
    Device,
    Domain,
    Host,
    StorageClass,
    Topology,
)
from koboldfs.store.schema import (
    device,
    domain,
    host,
    refuse_unfit,
    server_settings,
    storage_class,
)
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Again, Reply, Statement, Steps, quiet

DEFAULT_PORT = 7500
#: Names of `Host` that are columns of another name.
_HOST_COLUMNS = {"ip": "hostip", "get_port": "http_get_port"}
#: Columns whose empty text means "none"; kept, it could be there only once.
_OPTIONAL = frozenset({"altip", "altmask", "http_get_port"})
#: A tracker's own measurements, which others need not hear of at once.
_MEASURED = frozenset({"mb_total", "mb_used", "mb_asof"})


def load(sql: Statements, with_hashtype: bool) -> Steps[Topology]:
    """All the small tables."""
    hosts = yield sql.hosts()
    devices = yield sql.devices()
    domains = yield sql.domains()
    classes = yield (sql.classes if with_hashtype else sql.old_classes)()
    settings = yield sql.settings()
    return Topology(
        hosts=tuple(
            Host(
                hostid=row[0],
                name=row[4] or "",
                status=row[1] or "down",
                ip=row[5] or "",
                http_port=DEFAULT_PORT if row[2] is None else row[2],
                get_port=row[3],
                altip=row[6],
                altmask=row[7],
            )
            for row in hosts.rows
        ),
        devices=tuple(
            Device(
                devid=row[0],
                hostid=row[1],
                status=row[2] or "down",
                weight=100 if row[3] is None else row[3],
                mb_total=row[4],
                mb_used=row[5],
            )
            for row in devices.rows
        ),
        domains=tuple(Domain(row[0], row[1] or "") for row in domains.rows),
        classes=tuple(
            StorageClass(row[0], row[1], row[2] or "", row[3], row[4] or None, row[5])
            for row in classes.rows
        ),
        settings=tuple((row[0], row[1] or "") for row in settings.rows),
    )


def _insert(sql: Statements, table: Any, values: Mapping[str, Any]) -> Statement:
    refuse_unfit(table, values)
    columns = sorted(values)
    return sql.insert(table, columns)(**values)


def _update(
    sql: Statements, table: Any, values: Mapping[str, Any], **keys: int
) -> Statement:
    refuse_unfit(table, values)
    blanks = {f"key_{name}": value for name, value in keys.items()}
    return sql.update(table, sorted(values), sorted(keys))(**values, **blanks)


def _host_values(values: Mapping[str, Any]) -> dict[str, Any]:
    columns = {_HOST_COLUMNS.get(name, name): value for name, value in values.items()}
    unknown = set(columns) - set(host.c.keys()) | {"hostid"} & set(columns)
    if unknown:
        raise ValueRefused(f"A host has no {min(unknown)} to set")
    return {
        name: None if value == "" and name in _OPTIONAL else value
        for name, value in columns.items()
    }


def _refuse_taken(rows: Reply, values: Mapping[str, Any], hostid: int) -> None:
    for row in rows.rows:
        if row[0] != hostid and (
            values.get("hostip", row) == row[5]
            or values.get("altip") == (row[6] or row)
        ):
            raise DuplicateRow


def create_host(sql: Statements, name: str, values: Mapping[str, Any]) -> Steps[int]:
    """A new host; raises `HostExists`, or `DuplicateRow` for an address in use."""
    columns = _host_values(values) | {"hostname": name}
    rows = yield sql.hosts()
    if any(row[4] == name for row in rows.rows):
        raise HostExists
    hostid = max((row[0] for row in rows.rows), default=0) + 1
    _refuse_taken(rows, columns, hostid)
    columns.setdefault("status", "down")
    columns.setdefault("http_port", DEFAULT_PORT)
    try:
        yield _insert(sql, host, columns | {"hostid": hostid})
    except DuplicateRow as fault:
        raise Again from fault
    yield quiet(sql.notice())
    return hostid


def update_host(sql: Statements, hostid: int, values: Mapping[str, Any]) -> Steps[None]:
    """Change columns; raises `DuplicateRow` for an address in use."""
    columns = _host_values(values)
    if not columns:
        return
    rows = yield sql.hosts()
    _refuse_taken(rows, columns, hostid)
    yield _update(sql, host, columns, hostid=hostid)
    yield quiet(sql.notice())


def delete_host(sql: Statements, hostid: int) -> Steps[None]:
    """Remove it; raises `HostNotEmpty` when it has devices."""
    yield sql.lock_host(hostid=hostid)
    reply = yield sql.host_has_devices(hostid=hostid)
    if reply.rows:
        raise HostNotEmpty
    yield quiet(sql.drop_host(hostid=hostid), sql.notice())


def create_device(sql: Statements, devid: int, hostid: int, status: str) -> Steps[None]:
    """A new device; raises `ExistingDevid`, `UnknownHostid`."""
    values = {"devid": devid, "hostid": hostid, "status": status, "weight": 100}
    refuse_unfit(device, values)
    there = yield sql.lock_host(hostid=hostid)
    if not there.rows:
        raise UnknownHostid
    reply = yield sql.device(devid=devid)
    if reply.rows:
        raise ExistingDevid
    try:
        yield _insert(sql, device, values)
    except DuplicateRow as fault:
        raise ExistingDevid from fault
    yield quiet(sql.notice())


def update_device(
    sql: Statements,
    devid: int,
    values: Mapping[str, Any],
    status_was: str | None = None,
) -> Steps[bool]:
    """Change columns, if the status is what it is said to be; only what others must
    act upon is announced to them. Whether anything was written."""
    if not values:
        return False
    unknown = set(values) - set(device.c.keys()) | {"devid"} & set(values)
    if unknown:
        raise ValueRefused(f"A device has no {min(unknown)} to set")
    if status_was is not None:
        reply = yield sql.lock_device(devid=devid)
        if not reply.rows or reply.rows[0][0] != status_was:
            return False
    notice = None if set(values) <= _MEASURED else sql.notice()
    yield quiet(_update(sql, device, values, devid=devid), notice)
    return True


def create_domain(sql: Statements, name: str) -> Steps[int]:
    """A new domain; raises `DomainExists`."""
    rows = yield sql.domains()
    if any(row[1] == name for row in rows.rows):
        raise DomainExists
    dmid: int = max((row[0] for row in rows.rows), default=0) + 1
    try:
        yield _insert(sql, domain, {"dmid": dmid, "namespace": name})
    except DuplicateRow as fault:
        raise Again from fault
    yield quiet(sql.notice())
    return dmid


def delete_domain(sql: Statements, dmid: int) -> Steps[None]:
    """Remove it and its row of class 0; raises `DomainHasFiles`, `DomainHasClasses`.

    An open upload counts as a file: its number may soon be that of another domain.
    One that is not described yet cannot be closed any more.
    """
    yield sql.lock_domain(dmid=dmid)
    yield quiet(sql.forget_blank_of_domain(dmid=dmid))
    for phrase in (sql.domain_has_files, sql.domain_has_uploads):
        reply = yield phrase(dmid=dmid)
        if reply.rows:
            raise DomainHasFiles
    classes = yield sql.classes_of(dmid=dmid)
    if any(row[0] != DEFAULT_CLASSID for row in classes.rows):
        raise DomainHasClasses
    yield quiet(
        sql.drop_class(dmid=dmid, classid=DEFAULT_CLASSID),
        sql.drop_domain(dmid=dmid),
        sql.notice(),
    )


def class_values(
    name: str, mindevcount: int, policy: str | None, hashtype: int | None
) -> dict[str, Any]:
    """The columns of a class."""
    values = {"classname": name, "mindevcount": mindevcount}
    return values | {"replpolicy": policy or None, "hashtype": hashtype}


def _without_hashtype(values: dict[str, Any], with_hashtype: bool) -> dict[str, Any]:
    if with_hashtype:
        return values
    if values["hashtype"] is not None:
        raise ValueRefused("This database's schema is too old for a class's hashtype")
    return {name: value for name, value in values.items() if name != "hashtype"}


def create_class(
    sql: Statements, dmid: int, values: dict[str, Any], with_hashtype: bool
) -> Steps[int]:
    """A new class; raises `ClassExists`. `values` are of `class_values`."""
    yield sql.lock_domain(dmid=dmid)
    classes = yield sql.classes_of(dmid=dmid)
    if any(row[1] == values["classname"] for row in classes.rows):
        raise ClassExists
    classid: int = max((row[0] for row in classes.rows), default=0) + 1
    columns = _without_hashtype(values, with_hashtype)
    try:
        yield _insert(sql, storage_class, columns | {"dmid": dmid, "classid": classid})
    except DuplicateRow as fault:
        raise Again from fault
    yield quiet(sql.notice())
    return classid


def update_class(
    sql: Statements,
    dmid: int,
    classid: int,
    values: dict[str, Any],
    with_hashtype: bool,
) -> Steps[None]:
    """Set all columns; class 0 gets its row if it has none; else `ClassNotFound`."""
    columns = _without_hashtype(values, with_hashtype)
    yield sql.lock_domain(dmid=dmid)
    classes = yield sql.classes_of(dmid=dmid)
    keys = {"dmid": dmid, "classid": classid}
    if any(
        row[0] != classid and row[1] == columns["classname"] for row in classes.rows
    ):
        raise DuplicateRow
    if any(row[0] == classid for row in classes.rows):
        yield _update(sql, storage_class, columns, **keys)
    elif classid == DEFAULT_CLASSID:
        try:
            yield _insert(sql, storage_class, columns | keys)
        except DuplicateRow as fault:
            raise Again from fault
    else:
        raise ClassNotFound
    yield quiet(sql.notice())


def delete_class(sql: Statements, dmid: int, classid: int) -> Steps[None]:
    """Remove it; raises `ClassHasFiles`, also while an upload into it is open."""
    yield sql.lock_domain(dmid=dmid)
    yield quiet(sql.forget_blank_of_class(dmid=dmid, classid=classid))
    for phrase in (sql.class_has_files, sql.class_has_uploads):
        reply = yield phrase(dmid=dmid, classid=classid)
        if reply.rows:
            raise ClassHasFiles
    yield quiet(sql.drop_class(dmid=dmid, classid=classid), sql.notice())


def setting(sql: Statements, name: str) -> Steps[str | None]:
    """One setting, or None."""
    reply = yield sql.setting(field=name)
    return (reply.rows[0][0] or "") if reply.rows else None


def set_setting(sql: Statements, name: str, value: str | None) -> Steps[None]:
    """Write a setting, or remove it."""
    yield quiet(_write(sql, name, value), sql.notice())


def _write(sql: Statements, name: str, value: str | None) -> Statement:
    if value is None:
        return sql.drop_setting(field=name)
    row = {"field": name, "value": value}
    refuse_unfit(server_settings, row)
    return sql.set_setting(**row)


def set_settings(sql: Statements, values: Mapping[str, str | None]) -> Steps[None]:
    """Write or remove several settings, in the order of their names."""
    for name, value in sorted(values.items()):
        yield from set_setting(sql, name, value)


def change_settings(
    sql: Statements,
    expected: Mapping[str, str | None],
    values: Mapping[str, str | None],
    announce: bool,
) -> Steps[bool]:
    """As `set_settings`, if the others are as expected; see
    `ITopology.change_settings`."""
    # Rows that are not there cannot be locked: this one is in every database.
    yield sql.lock_setting(field="schema_version")
    for name, value in sorted(expected.items()):
        if (yield from setting(sql, name)) != value:
            return False
    for name, value in sorted(values.items()):
        yield quiet(_write(sql, name, value))
    if announce:
        yield quiet(sql.notice())
    return True


def default_setting(sql: Statements, name: str, value: str) -> Steps[str]:
    """Write a setting unless it is there; what it is now."""
    row = {"field": name, "value": value}
    refuse_unfit(server_settings, row)
    reply = yield sql.setting(field=name)
    if not reply.rows:
        yield quiet(sql.default_setting(**row), sql.notice())
        reply = yield sql.setting(field=name)
    rows: Sequence[Any] = reply.rows
    return (rows[0][0] or "") if rows else value
