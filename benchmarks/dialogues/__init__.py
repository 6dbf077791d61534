"""Scripted dialogues, and whether the hand-over rule fires where somebody should step in."""
