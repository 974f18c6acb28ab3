"""Exchanges byte for byte, each split at every byte."""
