"""A leaderboard of training options: one change at a time, several seeds, the same splits."""
