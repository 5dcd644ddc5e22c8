"""What is served: bundles, their versions, and how they are exchanged."""
