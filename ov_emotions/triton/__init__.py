"""Bundle to a model repository of NVIDIA Triton."""
