"""What is measured of data and of finished runs."""
