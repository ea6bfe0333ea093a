"""Checkpoints that people have -> ours, and back: named by their keys, checked against a preset, written tensor by tensor.

Our parameter names are those of the original Wan, so every other style is mapped to these (:mod:`.keys`).
"""
