"""Training: one loop that can be read in a sitting, and what it needs."""
