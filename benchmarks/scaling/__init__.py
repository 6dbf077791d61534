"""Throughput against cores, batch, length and streams, and what more cores would bring."""
