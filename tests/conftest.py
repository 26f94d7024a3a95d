"""One thread for every test: small tensors gain nothing from more, and results do not depend on the machine."""

import torch

torch.set_num_threads(1)
