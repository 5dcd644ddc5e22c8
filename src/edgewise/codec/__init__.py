"""Entropy streams and their tables. Reserved: the seam fits them, both halves run them."""
