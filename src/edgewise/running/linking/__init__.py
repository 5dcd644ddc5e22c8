"""The way to the cloud half: requests, connections, credentials, patience."""
