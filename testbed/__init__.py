"""The six test hosts as containers, and how they start."""
