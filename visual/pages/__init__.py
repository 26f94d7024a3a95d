"""Self-contained HTML pages: events, reports, latent spaces, sweeps."""
