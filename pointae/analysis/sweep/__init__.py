"""Searches over configs: what can be tried, what was, which process trains what, and how it ranks."""
