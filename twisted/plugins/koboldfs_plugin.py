"""Tells Twisted that there is a service ``twistd koboldfs``; all else is in the tap."""

from twisted.application.service import ServiceMaker

koboldfs = ServiceMaker(
    "KoboldFS",
    "koboldfs.tap",
    "A distributed file system: tracker, storage node, or both.",
    "koboldfs",
)
