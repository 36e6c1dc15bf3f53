"""The version of this package, which the build reads without importing it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
