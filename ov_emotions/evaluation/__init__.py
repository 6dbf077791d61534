"""Models scored on held-out rows by any backend: figures, errors, comparisons, calibration."""
