# OpenVINO Model Server with models and configuration inside. From the folder above:
#   ov-emotions ovms build emotions-ru-small models
#   docker build --file containers/ovms.Dockerfile --tag emotions-ovms .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --publish 127.0.0.1:@{rest_port}:@{rest_port} emotions-ovms
# A new model is a new image; nothing is mounted. The digest is yours to add, once you have pulled
# and checked the image: --build-arg OVMS_IMAGE=@{image}@sha256:...
ARG OVMS_IMAGE=@{image}

FROM ${OVMS_IMAGE}
# Owned by root and readable by all: the server may not change what it serves.
COPY --chown=0:0 --chmod=755 models/ /models/
COPY --chown=0:0 --chmod=644 config.json /config/config.json
USER 5000:5000
EXPOSE @{rest_port} @{grpc_port}
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/@{rest_port} && printf 'GET /v2/models/@{name}/ready HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200'"]
# Arguments of the image's own entry point.
CMD @{arguments_json}
