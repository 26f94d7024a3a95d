"""What every test shares: one thread, and the same drawn examples in every run."""

import os

import torch
from hypothesis import settings

# Small tensors gain nothing from more threads, and results do not depend on the machine.
torch.set_num_threads(1)

# HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
