"""Emotions written out as words by a T5-style model: «гнев, грусть».

The label names are the model's output text (Raffel et al., 2020, "Exploring the limits of transfer
learning with a unified text-to-text transformer", cast classification this way). What it writes
need not be a label; that is counted and told, never hidden.
"""
