"""From prepared data to a checkpoint: a base encoder made ready, fine-tuned, the best kept."""
