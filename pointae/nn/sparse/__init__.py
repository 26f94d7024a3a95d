"""Sparse convolution on occupied voxels: kernel maps, interchangeable engines, layers.

Submanifold convolution is that of Graham, Engelcke and van der Maaten 2018 (arXiv:1711.10275):
outputs exist only where inputs do, so an event stays as sparse as it came.
"""
