"""Many devices and servers on one clock with one seed. Reserved."""
