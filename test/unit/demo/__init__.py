"""Tests of koboldfs.demo."""
