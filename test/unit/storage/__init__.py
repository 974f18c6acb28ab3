"""Tests of koboldfs.storage."""
