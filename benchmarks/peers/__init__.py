"""The library beside what its users would pick instead, on one machine; README.md in the parent."""
