"""Runtimes that turn encoded batches into logits, and what decides which of them runs a batch."""
