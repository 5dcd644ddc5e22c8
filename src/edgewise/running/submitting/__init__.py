"""What must reach the server: stored first, delivered when there is a way."""
