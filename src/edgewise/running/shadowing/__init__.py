"""A sampled share answered by the other side too, and compared."""
