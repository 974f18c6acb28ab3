"""The commands for domains and their classes."""

from __future__ import annotations

from koboldfs import errors
from koboldfs.model.entities import DEFAULT_CLASS_NAME, HASH_NAMES, MD5, SHA1
from koboldfs.model.policy import parse_policy
from koboldfs.tracker.call import (
    Call,
    Pairs,
    Services,
    TrackerCommand,
    needed,
    optional,
)

#: What rules a class without a policy, unless the setting `kobold_policy` says more.
DEFAULT_POLICY = "AllHosts()"
#: A class may ask for these; others would be unknown to a MogileFS on our database.
_CLASS_HASHTYPES = {HASH_NAMES[kind]: kind for kind in (MD5, SHA1)}
_NO_HASHTYPE = "NONE"

DOMAIN = needed("domain", "the name of the domain")


async def get_domains(services: Services, call: Call) -> Pairs:
    """All domains with their classes.

    OK: `domains`; for each `domain<i>` (its name), `domain<i>classes` (how many), and
    for each class `domain<i>class<j>name`, `...mindevcount`, `...replpolicy` (the one
    that rules, if the class names none) and `...hashtype`.
    """
    view = services.view
    policy = view.settings.get("kobold_policy") or DEFAULT_POLICY
    domains = sorted(view.domains.values(), key=lambda domain: domain.dmid)
    pairs: Pairs = [("domains", len(domains))]
    for i, domain in enumerate(domains, 1):
        classes = view.classes_of(domain.dmid)
        pairs += ((f"domain{i}", domain.name), (f"domain{i}classes", len(classes)))
        for j, one in enumerate(classes, 1):
            stem = f"domain{i}class{j}"
            hashtype = _NO_HASHTYPE
            if one.hashtype is not None:
                hashtype = HASH_NAMES.get(one.hashtype, str(one.hashtype))
            pairs += (
                (f"{stem}name", one.name),
                (f"{stem}mindevcount", one.mindevcount),
                (f"{stem}replpolicy", one.policy or policy),
                (f"{stem}hashtype", hashtype),
            )
    return pairs


async def create_domain(services: Services, call: Call) -> Pairs:
    """Make a domain. OK: `domain`. Errors: `no_domain`, `domain_exists`, `failure`
    (the database cannot hold the name)."""
    name = _domain_name(call)
    if name in services.view.domains:
        raise errors.DomainExists()
    try:
        await services.admin.create_domain(name)
    except errors.ValueRefused as refused:
        raise errors.KoboldError("the domain's name cannot be stored") from refused
    return [("domain", name)]


async def delete_domain(services: Services, call: Call) -> Pairs:
    """Remove a domain. OK: `domain`. Errors: `no_domain`, `domain_not_found`,
    `domain_has_files`, `domain_has_classes` (other than `default`)."""
    name = _domain_name(call)
    await services.admin.delete_domain(name)
    return [("domain", name)]


async def create_class(services: Services, call: Call) -> Pairs:
    """Make a class; with `update` true, change one.

    OK: `domain`, `class`, `mindevcount`. Errors in this order: `no_domain`,
    `no_class`, `invalid_mindevcount`, `invalid_replpolicy`, `invalid_hashtype`,
    `domain_not_found`, `class_exists`, `failure` (a value that the database cannot
    hold).
    """
    if call.true("update"):
        return await update_class(services, call)
    domain, name, mindevcount = _class_words(call)
    policy, hashtype = _policy(call), _hashtype(call)
    try:
        await services.admin.create_class(domain, name, mindevcount, policy, hashtype)
    except errors.ValueRefused as refused:
        raise errors.KoboldError("a value of the class cannot be stored") from refused
    return [("domain", domain), ("class", name), ("mindevcount", mindevcount)]


async def update_class(services: Services, call: Call) -> Pairs:
    """Change a class. A policy or hashtype that is not given, or is empty, stays.

    OK and errors as for create_class, but `class_not_found`.
    """
    domain, name, mindevcount = _class_words(call)
    policy, hashtype = _policy(call), _hashtype(call)
    try:
        await services.admin.update_class(
            domain,
            name,
            mindevcount,
            policy,
            hashtype,
            keep_policy=policy is None,
            keep_hashtype=call.given("hashtype") is None,
        )
    except errors.ValueRefused as refused:
        raise errors.KoboldError("a value of the class cannot be stored") from refused
    return [("domain", domain), ("class", name), ("mindevcount", mindevcount)]


async def delete_class(services: Services, call: Call) -> Pairs:
    """Remove a class that has no files. OK: `domain`, `class`.

    Errors in this order: `no_domain`, `nodel_default_class`, `domain_not_found`,
    `class_not_found` (also without a class), `class_has_files`.
    """
    domain = _domain_name(call)
    name = call.arguments.get("class", "")
    if name == DEFAULT_CLASS_NAME:
        raise errors.DefaultClassStays()
    await services.admin.delete_class(domain, name)
    return [("domain", domain), ("class", name)]


def _domain_name(call: Call) -> str:
    """The domain; MogileFS cannot make, so has none, that is called ``0``."""
    if not call.true("domain"):
        raise errors.NoDomain()
    return call.arguments["domain"]


def _class_words(call: Call) -> tuple[str, str, int]:
    """Domain, class and mindevcount, checked in this order."""
    domain = _domain_name(call)
    if not call.true("class"):
        raise errors.NoClass()
    mindevcount = call.leading_number("mindevcount")
    if mindevcount < 1:
        raise errors.BadMindevcount()
    return domain, call.arguments["class"], mindevcount


def _policy(call: Call) -> str | None:
    """The policy's text if there is one; raises `InvalidPolicy`."""
    text = call.given("replpolicy")
    if text is not None:
        try:
            parse_policy(text)
        except ValueError as fault:
            raise errors.InvalidPolicy(str(fault)) from fault
    return text


def _hashtype(call: Call) -> int | None:
    """The hashtype's number; raises `InvalidHashtype`."""
    name = call.given("hashtype")
    if name is None or name == _NO_HASHTYPE:
        return None
    if name not in _CLASS_HASHTYPES:
        raise errors.InvalidHashtype()
    return _CLASS_HASHTYPES[name]


_CLASS_ARGUMENTS = (
    DOMAIN,
    needed("class", "the name of the class"),
    needed("mindevcount", "how many copies at least"),
    optional("replpolicy", "such as `MultipleHosts(3)`"),
    optional("hashtype", "`MD5`, `SHA-1` or `NONE`"),
)

CLASS_COMMANDS = (
    TrackerCommand("get_domains", get_domains),
    TrackerCommand("create_domain", create_domain, (DOMAIN,)),
    TrackerCommand("delete_domain", delete_domain, (DOMAIN,)),
    TrackerCommand(
        "create_class",
        create_class,
        (*_CLASS_ARGUMENTS, optional("update", "true: the same as update_class")),
    ),
    TrackerCommand("update_class", update_class, _CLASS_ARGUMENTS),
    TrackerCommand(
        "delete_class",
        delete_class,
        (DOMAIN, needed("class", "the name of the class")),
    ),
)
