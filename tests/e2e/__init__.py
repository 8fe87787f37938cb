"""Promises, proved on real services in containers."""
