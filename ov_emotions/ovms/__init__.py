"""Serving with OpenVINO Model Server: model repositories, configuration, deployment files."""
