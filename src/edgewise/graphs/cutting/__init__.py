"""Where a network falls in two, the two halves, and the proof that they equal the whole."""
