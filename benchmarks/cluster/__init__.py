"""Bulk classification on a local Ray, with kills, beside plain `classify`."""
