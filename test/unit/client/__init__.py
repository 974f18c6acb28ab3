"""Tests of koboldfs.client."""
