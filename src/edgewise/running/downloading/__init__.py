"""A bundle from its server: resumed, verified, proven, swapped in whole."""
