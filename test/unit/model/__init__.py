"""Tests of `koboldfs.model`, one module each."""
