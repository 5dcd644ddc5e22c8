"""What devices hand in: stored once, read by the operator."""
