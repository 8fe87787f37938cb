"""Faults, the load that feels them, and what must hold through them: for tests, bench and drill."""
