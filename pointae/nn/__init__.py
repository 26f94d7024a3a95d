"""Networks: encoders, latents and decoders, and the autoencoder that joins them."""
