"""How the classes of a database would be treated once it is taken over."""

from __future__ import annotations

from random import Random

from attrs import frozen

from koboldfs.model.adoption import Facts
from koboldfs.model.entities import DeviceReport, HostReport, StorageClass
from koboldfs.model.policy import (
    COPY,
    WAIT,
    MultipleHosts,
    Policy,
    Question,
    parse_policy,
    plan,
)
from koboldfs.model.view import Health, View


@frozen
class ClassReading:
    """How a class will be treated. Of the copies that its policy `wanted`, all nodes
    being up, only so many are `possible`; `held_up`: files wait for the others."""

    dmid: int
    name: str
    mindevcount: int
    hashtype: int | None
    text: str | None
    policy: Policy
    understood: bool
    wanted: int
    possible: int
    held_up: bool


def whole_view(facts: Facts) -> View:
    """The picture as if every node answered."""
    health = Health()
    for host in facts.topology.hosts:
        reports = tuple(
            DeviceReport(device.devid, "writeable")
            for device in facts.topology.devices
            if device.hostid == host.hostid
        )
        health = health.with_report(HostReport(host.hostid, True, devices=reports))
    return View.of(facts.topology, health)


def readings(facts: Facts) -> list[ClassReading]:
    """How each class will be treated, domain by domain."""
    view = whole_view(facts)
    return [
        _reading(one, view)
        for domain in facts.topology.domains
        for one in view.classes_of(domain.dmid)
    ]


def _reading(one: StorageClass, view: View) -> ClassReading:
    text = one.policy or view.settings.get("kobold_policy")
    understood = True
    policy: Policy = MultipleHosts()
    try:
        policy = parse_policy(text) if text else policy
    except ValueError:
        understood = False
    wanted, possible, held_up = _prospect(policy, one.mindevcount, view)
    return ClassReading(
        one.dmid,
        one.name,
        one.mindevcount,
        one.hashtype,
        one.policy,
        policy,
        understood,
        wanted,
        possible,
        held_up,
    )


def _prospect(policy: Policy, mindevcount: int, view: View) -> tuple[int, int, bool]:
    """For a new file: copies wanted, copies possible, whether it waits for more."""
    first = next(filter(view.may_receive, sorted(view.devices)), None)
    on = frozenset[int]() if first is None else frozenset({first})
    question, random = Question(view, on, mindevcount), Random(0)
    wanted = policy.copies(question)
    for devid in plan(policy, question, random).devids:
        question = question.with_copy(devid)
    waits = policy.judge(question, random).word in (COPY, WAIT)
    return wanted, len(question.on), waits
