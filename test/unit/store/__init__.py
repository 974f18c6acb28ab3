"""Tests of `koboldfs.store` without a database."""
