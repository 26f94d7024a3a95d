"""The latent space of a run: where events lie in it, how they group, and what lies between and beside them."""
