"""Tests of the grammars: bytes to values and back."""
