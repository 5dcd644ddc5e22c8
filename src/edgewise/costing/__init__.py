"""What a network costs on a device and in the cloud. Reserved."""
