"""Tests of `koboldfs.cluster`, one module each."""
