"""What crosses between the halves, and what it leaks. Reserved."""
