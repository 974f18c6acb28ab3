"""The rules of KoboldFS as functions of values: no clock, no disk, no network."""
