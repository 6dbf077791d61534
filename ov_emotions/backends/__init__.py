"""Runtimes that turn encoded batches into logits, one module each."""
