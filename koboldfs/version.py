"""The version, where every floor may read it without importing the public names."""

__version__ = "1.0.0.dev0"
