"""Tests of koboldfs.cli."""
