"""Additional training rows made from those of a prepared folder, each marked with its origin."""
