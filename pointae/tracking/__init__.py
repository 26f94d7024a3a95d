"""Particles from their light: hypotheses of a track, how well each explains a hit, and the search for the best."""
