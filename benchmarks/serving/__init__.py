"""Load on a model server that speaks KServe v2; README.md says how to run it."""
