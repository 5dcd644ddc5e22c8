"""Frames that come faster than answers."""
