"""Databases as MogileFS leaves them: its tables, and what goes wrong in the years."""

from __future__ import annotations

#: What its tables hold for a start.
ROWS = """
insert into server_settings values ('schema_version', '17');
insert into domain values (1, 'old');
insert into file values (7, 1, 'k', 3, 0, 1), (9, 1, 'Z', 3, 0, 1);
insert into file_on values (7, 1), (9, 2);
insert into file_to_delete values (4);
insert into file_to_delete_later values (5, 1), (6, 2147480000);
insert into host values (1, 'alive', 7500, null, 'h', '10.0.0.1', null, null);
insert into device (devid, hostid, status) values (1, 1, 'alive')
"""
#: The tables that matter here as MogileFS makes them, by its schema version 17.
MOGILEFS = """
create table domain (dmid smallint primary key, namespace varchar(255) unique);
create table class (dmid smallint not null, classid smallint not null,
  classname varchar(50), mindevcount smallint not null, hashtype smallint,
  replpolicy varchar(255), primary key (dmid, classid), unique (dmid, classname));
create table file (fid bigint primary key, dmid smallint not null,
  dkey varchar(255), length bigint check (length >= 0), classid smallint not null,
  devcount smallint not null, unique (dmid, dkey));
create index file_devcount on file (dmid, classid, devcount);
create table tempfile (fid serial primary key, createtime int not null,
  classid smallint not null, dmid smallint not null, dkey varchar(255),
  devids varchar(60));
create table file_on (fid bigint not null, devid smallint not null,
  primary key (fid, devid));
create index file_on_devid on file_on (devid);
create table file_to_replicate (fid bigint primary key, nexttry int not null,
  fromdevid int, failcount smallint not null default 0,
  flags smallint not null default 0);
create index file_to_replicate_nexttry on file_to_replicate (nexttry);
create table file_to_delete (fid bigint primary key);
create table file_to_delete_later (fid bigint primary key, delafter int not null);
create table file_to_delete2 (fid bigint primary key, nexttry int not null,
  failcount smallint not null default 0);
create index file_to_delete2_nexttry on file_to_delete2 (nexttry);
create table host (hostid smallint primary key, status varchar(8),
  http_port int default 7500, http_get_port int, hostname varchar(40) unique,
  hostip varchar(15) unique, altip varchar(15) unique, altmask varchar(18));
create table device (devid smallint primary key, hostid smallint not null,
  status varchar(8), weight int default 100, mb_total int, mb_used int, mb_asof int);
create table server_settings (field varchar(50) primary key, value text);
"""
#: Tables that came with later schema versions, or are seldom filled.
MORE_TABLES = """
create table file_to_queue (fid bigint not null, devid int, type smallint not null,
  nexttry int not null, failcount smallint not null default 0,
  flags smallint not null default 0, arg text, primary key (fid, type));
create index type_nexttry on file_to_queue (type, nexttry);
create table unreachable_fids (fid bigint primary key, lastupdate int not null);
create table checksum (fid bigint primary key, hashtype smallint not null,
  checksum CHECKSUM not null)
"""
#: Two hosts and four devices, of which one is dead and one has lost its host; files of
#: domains and classes that are gone, without copies, and with copies in wrong places;
#: queues that stand still. {0} is an hour and a half ago, {1} is in an hour.
TROUBLE = """
insert into domain values (2, 'caf\u00c3\u00a9');
insert into host values (2, 'alive', 7600, 8080, 'h2', '10.0.0.2', null, null);
insert into device values (2, 2, 'alive', 100, 10000, 2500, 1),
  (3, 1, 'dead', 100, null, null, null), (4, 9, 'alive', 100, 10000, 1, 1);
insert into class values (1, 1, 'zones', 2, 1, 'HostsPerNetwork(a=1)'),
  (1, 2, 'many', 5, 7, null),
  (1, 3, 'both', 2, null, 'Union(MultipleHosts(2), MultipleDevices(2))');
insert into file values (20, 1, 'bare', 100, 0, 0), (21, 1, 'stray', 100, 1, 1),
  (22, 8, 'nobody', 100, 0, 1), (23, 1, 'gone', 100, 5, 1),
  (24, 1, 'h\u0101', 100, 0, 1), (2000000000, 1, 'late', 100, 0, 2);
insert into file_on values (21, 3), (21, 77), (22, 1), (23, 1), (24, 2),
  (2000000000, 1), (2000000000, 2);
insert into tempfile values (2000000001, 1000000000, 0, 1, 'old', '1,2');
insert into file_to_replicate values (20, 2147483647, null, 0, 0),
  (21, {0}, null, 0, 0), (22, {1}, null, 9, 0), (23, 0, null, 0, 0);
insert into file_to_delete2 values (900, {0}, 12);
insert into file_to_queue values (7, null, 1, {0}, 0, 0, null),
  (9, 1, 2, {1}, 0, 0, '2');
insert into unreachable_fids values (3, 1);
insert into server_settings values ('memcache_servers', '10.0.0.9:11211'),
  ('slave_keys', 'a'), ('zone_a', '10.0.0.0/8'), ('rebal_host', 'tracker7')
"""


def tables(engine: str, version: int = 17) -> str:
    """SQL that makes the tables, with two files, by that schema version."""
    sql = f"{MOGILEFS}{ROWS.rstrip()};{MORE_TABLES}"
    if version < 15:
        sql = sql.replace(" hashtype smallint,", "")
    if version < 13:
        sql = sql.replace(", arg text", "")
    missing = {
        "checksum": version < 15,
        "file_to_delete2": version < 12,
        "file_to_queue": version < 11,
    }
    for table in (name for name, is_missing in missing.items() if is_missing):
        sql = ";".join(
            one
            for one in sql.split(";")
            if f"create table {table} " not in one and f" on {table} " not in one
        )
    sql = sql.replace("('schema_version', '17')", f"('schema_version', '{version}')")
    if engine == "sqlite":
        sql = sql.replace("serial primary key", "integer primary key autoincrement")
    return sql.replace("CHECKSUM", "bytea" if engine == "postgresql" else "blob")


def trouble(now: int) -> str:
    """SQL that breaks things on a database of version 17."""
    return TROUBLE.format(now - 5400, now + 3600)


def without_files(tables: str) -> list[str]:
    """The tables with nothing in them but what says the version."""
    return (tables + ROWS).partition(";\ninsert into domain")[0].split(";")
