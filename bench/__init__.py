"""Measurements of the desk, each a command that prints its figures."""
