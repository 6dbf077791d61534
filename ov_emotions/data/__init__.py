"""From raw sets to one prepared folder: readers, deduplication, leak-safe splits, a manifest."""
