"""Tests of `koboldfs.jobs`, one module each."""
