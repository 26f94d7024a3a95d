"""What tools/benchmark.py drives: timings of the stages that events pass through."""
