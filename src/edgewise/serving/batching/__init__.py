"""Requests that meet run as one batch."""
