"""Count and time a network."""

from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile

__all__ = ["EdgeProfile", "NodeProfile", "Profile"]
