"""Server processes: started, watched, drained."""
