"""From a file or a torch module to a checked network."""
