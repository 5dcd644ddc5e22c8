"""What an operator sees: counters, times, log lines."""
