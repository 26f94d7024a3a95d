"""Curves and charts of trainings, runs and benchmarks; the numbers lie beside each as CSV."""
