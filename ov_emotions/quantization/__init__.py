"""From fp32 to INT8: calibration subset, NNCF, thresholds fitted anew."""
