"""Emotions in Russian text, several at once, on a CPU."""

__version__ = "0.1.0"
