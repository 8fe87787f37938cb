"""Proofs: those here need no host and take seconds; e2e/ needs the containers."""
