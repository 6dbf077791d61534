"""The settings that are fastest on a machine: measured once, kept in a file, used by name."""
