"""The type and shape of every tensor, open axes included."""
