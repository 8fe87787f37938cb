"""The five test hosts as containers, and how they start."""
