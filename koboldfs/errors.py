"""Every error that KoboldFS raises on purpose, cut first by whose fault it is.

    KoboldError
     +- CallerError       the request cannot be done as asked; `code` goes on the wire
     |   +- UnknownKey, NoDomain, KeyExists, ...   one class a tracker error code
     +- WorldError        something outside failed: a database, a node, a disk
     |   +- DatabaseFault
     |   |   +- DatabaseAway      no connection within the deadline
     |   |   +- DuplicateRow      a unique rule of the schema refused a row
     |   |   +- ValueRefused      a value that a column cannot hold
     |   +- NodeFault             a storage node answered with an error
     |   |   +- NodeUnreachable   it did not answer at all
     |   |   +- CopyMissing       it answered: no such file
     |   |   +- CopyCorrupt       the bytes it has are not the file's
     |   +- DiskFault             one of our own disks failed an operation
     |       +- DiskFull
     |       +- DeviceUnavailable not mounted, not ours, or set read-only
     +- ConfigError       the operator's options cannot work; one line, exit status 1

A front door translates an error in one place (the tracker sends ``ERR code text``).
Any other exception is a defect of ours: logged, and answered as ``failure``.
"""

from __future__ import annotations

from typing import ClassVar


class KoboldError(Exception):
    """Something went wrong that KoboldFS knows a name for."""

    code: ClassVar[str] = "failure"
    text: ClassVar[str] = "Operation failed"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(self.text if detail is None else detail)

    @property
    def message(self) -> str:
        """The sentence for a human; safe to send to the caller."""
        return str(self.args[0])


class CallerError(KoboldError):
    """The caller asked for something that cannot be done as asked."""


class WorldError(KoboldError):
    """A part of the world outside this process failed; trying again may help."""


class ConfigError(KoboldError):
    """The operator's options cannot work; the message is the one line to print."""


class DatabaseFault(WorldError):
    """The database refused or failed; its own words are logged, never sent."""

    code = "db"
    text = "Database error"


class DatabaseAway(DatabaseFault):
    """No database connection could be had within the deadline."""

    text = "Database error: not reachable, try again"


class DuplicateRow(DatabaseFault):
    """A unique rule of the schema refused a row."""

    code = "dup"
    text = "Duplicate name/number used."


class ValueRefused(DatabaseFault):
    """A value does not fit its column (too long, out of range)."""


class NodeFault(WorldError):
    """A storage node answered with an error."""


class NodeUnreachable(NodeFault):
    """A storage node did not answer within its deadline."""


class CopyMissing(NodeFault):
    """A storage node says that it does not have the file."""


class CopyCorrupt(NodeFault):
    """The bytes that a node has, or sent, are not those of the file."""


class DiskFault(WorldError):
    """An operation on one of our own disks failed."""


class DiskFull(DiskFault):
    """The device has no room (or no inode) for the file."""


class DeviceUnavailable(DiskFault):
    """The device is not mounted, is not the one it should be, or takes no writes."""


class AfterMismatch(CallerError):
    """The tracker protocol's ``after_mismatch``."""

    code = "after_mismatch"
    text = "Pattern does not match the after-value?"


class BadParams(CallerError):
    """The tracker protocol's ``bad_params``."""

    code = "bad_params"
    text = "Invalid parameters to command; please see documentation"


class ClassExists(CallerError):
    """The tracker protocol's ``class_exists``."""

    code = "class_exists"
    text = "That class already exists in that domain"


class ClassHasFiles(CallerError):
    """The tracker protocol's ``class_has_files``."""

    code = "class_has_files"
    text = "Class still has files, unable to delete"


class ClassNotFound(CallerError):
    """The tracker protocol's ``class_not_found``."""

    code = "class_not_found"
    text = "Class not found"


class DomainExists(CallerError):
    """The tracker protocol's ``domain_exists``."""

    code = "domain_exists"
    text = "That domain already exists"


class DomainHasClasses(CallerError):
    """The tracker protocol's ``domain_has_classes``."""

    code = text = "domain_has_classes"


class DomainHasFiles(CallerError):
    """The tracker protocol's ``domain_has_files``."""

    code = "domain_has_files"
    text = "Domain still has files, unable to delete"


class DomainNotFound(CallerError):
    """The tracker protocol's ``domain_not_found``."""

    code = "domain_not_found"
    text = "Domain not found"


class HostExists(CallerError):
    """The tracker protocol's ``host_exists``."""

    code = "host_exists"
    text = "That host already exists"


class HostMismatch(CallerError):
    """The tracker protocol's ``host_mismatch``."""

    code = "host_mismatch"
    text = "The device specified doesn't belong to the host specified"


class HostNotEmpty(CallerError):
    """The tracker protocol's ``host_not_empty``."""

    code = "host_not_empty"
    text = "Unable to delete host; it contains devices still"


class HostNotFound(CallerError):
    """The tracker protocol's ``host_not_found``."""

    code = "host_not_found"
    text = "Host not found"


class BadMindevcount(CallerError):
    """The tracker protocol's ``invalid_mindevcount``."""

    code = "invalid_mindevcount"
    text = "The mindevcount must be at least 1"


class KeyExists(CallerError):
    """The tracker protocol's ``key_exists``."""

    code = "key_exists"
    text = "Target key name already exists; can't overwrite."


class DefaultClassStays(CallerError):
    """The tracker protocol's ``nodel_default_class``."""

    code = "nodel_default_class"
    text = "Cannot delete the default class"


class NoClass(CallerError):
    """The tracker protocol's ``no_class``."""

    code = "no_class"
    text = "No class provided"


class NoDevices(CallerError):
    """The tracker protocol's ``no_devices``."""

    code = "no_devices"
    text = "No devices found to store file"


class NoDevice(CallerError):
    """The tracker protocol's ``no_device``."""

    code = "no_device"
    text = "Device not found"


class NoDomain(CallerError):
    """The tracker protocol's ``no_domain``."""

    code = "no_domain"
    text = "No domain provided"


class NoHost(CallerError):
    """The tracker protocol's ``no_host``."""

    code = "no_host"
    text = "No host provided"


class NoIp(CallerError):
    """The tracker protocol's ``no_ip``."""

    code = "no_ip"
    text = "IP required to create host"


class NoPort(CallerError):
    """The tracker protocol's ``no_port``."""

    code = "no_port"
    text = "Port required to create host"


class NoUpload(CallerError):
    """The tracker protocol's ``no_temp_file``."""

    code = "no_temp_file"
    text = "No tempfile or file already closed"


class NoneMatch(CallerError):
    """The tracker protocol's ``none_match``."""

    code = "none_match"
    text = "No keys match that pattern and after-value (if any)."


class StateTooHigh(CallerError):
    """The tracker protocol's ``state_too_high``."""

    code = "state_too_high"
    text = "Status cannot go from dead to alive; must use down"


class UnknownCommand(CallerError):
    """The tracker protocol's ``unknown_command``."""

    code = "unknown_command"
    text = "Unknown server command"


class UnknownHost(CallerError):
    """The tracker protocol's ``unknown_host``."""

    code = "unknown_host"
    text = "Host not found"


class UnknownState(CallerError):
    """The tracker protocol's ``unknown_state``."""

    code = "unknown_state"
    text = "Invalid/unknown state"


class UnknownDomain(CallerError):
    """The tracker protocol's ``unreg_domain``."""

    code = "unreg_domain"
    text = "Domain name invalid/not found"


class NoKey(CallerError):
    """The tracker protocol's ``no_key``."""

    code = text = "no_key"


class UnknownKey(CallerError):
    """The tracker protocol's ``unknown_key``."""

    code = text = "unknown_key"


class InvalidKey(CallerError):
    """The tracker protocol's ``invalid_key``."""

    code = text = "invalid_key"


class UnknownClass(CallerError):
    """The tracker protocol's ``unreg_class``."""

    code = text = "unreg_class"


class NoFid(CallerError):
    """The tracker protocol's ``no_fid``."""

    code = text = "no_fid"


class NoDevid(CallerError):
    """The tracker protocol's ``no_devid``."""

    code = text = "no_devid"


class NoPath(CallerError):
    """The tracker protocol's ``no_path``."""

    code = text = "no_path"


class BogusArguments(CallerError):
    """The tracker protocol's ``bogus_args``."""

    code = text = "bogus_args"


class BadChecksumFormat(CallerError):
    """The tracker protocol's ``invalid_checksum_format``."""

    code = text = "invalid_checksum_format"


class FidInUse(CallerError):
    """The tracker protocol's ``fid_in_use``."""

    code = text = "fid_in_use"


class FidExists(CallerError):
    """The tracker protocol's ``fid_exists``."""

    code = text = "fid_exists"


class InvalidState(CallerError):
    """The tracker protocol's ``invalid_state``."""

    code = text = "invalid_state"


class InvalidDevid(CallerError):
    """The tracker protocol's ``invalid_devid``."""

    code = text = "invalid_devid"


class UnknownHostid(CallerError):
    """The tracker protocol's ``unknown_hostid``."""

    code = text = "unknown_hostid"


class ExistingDevid(CallerError):
    """The tracker protocol's ``existing_devid``."""

    code = text = "existing_devid"


class InvalidHashtype(CallerError):
    """The tracker protocol's ``invalid_hashtype``."""

    code = text = "invalid_hashtype"


class NotWritable(CallerError):
    """The tracker protocol's ``not_writable``."""

    code = text = "not_writable"


class BadArguments(CallerError):
    """The tracker protocol's ``bad_args``."""

    code = "bad_args"
    text = "Invalid arguments"


class SizeUnverified(CallerError):
    """The tracker protocol's ``size_verify_error``."""

    code = text = "size_verify_error"


class SizeMismatch(CallerError):
    """The tracker protocol's ``size_mismatch``."""

    code = text = "size_mismatch"


class ChecksumMismatch(CallerError):
    """The tracker protocol's ``checksum_mismatch``."""

    code = text = "checksum_mismatch"


class InvalidDestination(CallerError):
    """The tracker protocol's ``invalid_destdev``."""

    code = text = "invalid_destdev"


class InvalidPolicy(CallerError):
    """The tracker protocol's ``invalid_replpolicy``."""

    code = text = "invalid_replpolicy"


class InvalidFormat(CallerError):
    """The tracker protocol's ``invalid_format``."""

    code = text = "invalid_format"


class KeyTooLong(CallerError):
    """The tracker protocol's ``key_too_long``."""

    code = "key_too_long"
    text = "The key is longer than this database can hold"


class LineTooLong(CallerError):
    """The tracker protocol's ``line_too_long``."""

    code = "line_too_long"
    text = "The request line is too long"


class TooBusy(CallerError):
    """The tracker protocol's ``too_busy``."""

    code = "too_busy"
    text = "Too many requests are waiting; try again"


class InTransaction(CallerError):
    """The native protocol's ``in_transaction``."""

    code = "in_transaction"
    text = "Not possible between BEGIN and COMMIT"


class FileChanged(CallerError):
    """The native protocol's ``changed``."""

    code = "changed"
    text = "The key has another file now"
