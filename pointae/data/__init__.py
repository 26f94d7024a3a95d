"""Events for training and evaluation: where they come from, how they are split and batched."""
