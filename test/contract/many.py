"""Databases of PostgreSQL with very many files, made by SQL in bulk."""

from __future__ import annotations

#: Devices with copies: all but the last have as many as the others.
DEVICES = 10
#: The last one has only so many, of the newest files.
SPARSE_DEVICE, SPARSE_FILES = 99, 5
#: The n-th file by fid is this one by key: neighbours by fid are none by key.
_STRIDE = 7919
#: One of so many files is in the queues, in the log, and an open upload.
_QUEUED_SHARE = 20


def key_number(number: int, count: int) -> str:
    """The key of rank `number`, of `count` of them."""
    return f"d{number // 1000:06d}/{number:09d}"


def key_sql(count: int, base: int) -> str:
    """The same as SQL, of the fid `n` of those above `base`."""
    rank = f"((n - {base})::bigint * {_STRIDE} % {count})"
    return (
        f"'d' || lpad(({rank} / 1000)::text, 6, '0')"
        f" || '/' || lpad({rank}::text, 9, '0')"
    )


def many_files(count: int, base: int = 0, dmid: int = 1, length: int = 7) -> list[str]:
    """Statements that fill the tables of files: `count` files with two copies each, and
    our checksum, with the fids after `base`. No two have the same key as long as
    `count` is no multiple of 7,919."""
    fids = f"from generate_series({base + 1}, {base + count}) n"
    key, last = key_sql(count, base), base + count - SPARSE_FILES
    device = f"1 + (n + c * (1 + n % 4)) % {DEVICES}"
    digest = "decode(md5(n::text) || md5(n::text), 'hex')"
    return [
        f"insert into file select n, {dmid}, {key}, {length}, 0, 2 {fids}",
        f"insert into file_on select n, {device} {fids}, generate_series(0, 1) c",
        f"insert into file_on select n, {SPARSE_DEVICE} {fids} where n > {last}",
        f"insert into kobold_checksum select n, 4, {digest} {fids}",
        f"select setval('tempfile_fid_seq', {2 * (base + count)})",
    ]


def long_queues(count: int, base: int = 0, tasks: int | None = None) -> list[str]:
    """Statements that fill the queues, the log and the uploads in proportion. A few
    rows are due; the others are put off, or of files that are gone. Of each kind of
    task there are `tasks`, if that is given."""
    queued = max(200, count // _QUEUED_SHARE)
    fids = f"from generate_series({base + 1}, {base + queued}) n"
    beyond = 10 * (base + count)
    gone = f"from generate_series({beyond + 1}, {beyond + queued}) n"
    now = "extract(epoch from now())::int"

    def due(first: int) -> str:
        late = f"n <= {first + 100} then -n % 50"
        return f"{now} + case when {late} else 9000 + n % 90000 end"

    old = f"{now} - n % 5000"
    opened = f"n + {base + count}, {old}, 0, 1, 'k', '1,2'"
    limited = f"from generate_series({base + 1}, {base + (tasks or queued)}) n"
    kinds = f"{limited}, generate_series(1, 2) k"
    log = "fsck_log (utime, fid, evcode)"
    return [
        f"insert into file_to_replicate select n, {due(base)}, null, n % 3, 0 {fids}",
        f"insert into file_to_delete2 select n, {due(beyond)}, 0 {gone}",
        f"insert into file_to_queue select n, 1, k, {due(base)}, n % 2, 0, '' {kinds}",
        f"insert into checksum select n, 1, 'x' {fids}",
        f"insert into file_to_delete select n {gone}",
        f"insert into file_to_delete_later select n, {now} + n % 9 - 4 {gone}",
        f"insert into {log} select {now} - 900, n, 'NOPA' {fids}",
        f"insert into tempfile select {opened} {fids}",
        f"insert into kobold_lost select n, 1 {fids}",
    ]
