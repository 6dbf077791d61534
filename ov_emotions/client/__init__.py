"""A client of model servers: KServe v2 over REST and gRPC, and the older TensorFlow Serving API."""

from ov_emotions.client.options import ServerOptions

__all__ = ["ServerOptions"]
