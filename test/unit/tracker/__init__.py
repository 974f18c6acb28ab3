"""Tests of the front doors, on a city hall in memory."""
