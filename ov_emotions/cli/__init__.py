"""The `ov-emotions` command: thin verbs by theme, which import what they need when they run."""
