# OpenVINO Model Server with models and configuration inside. From the folder above:
#   ov-emotions ovms build emotions-ru-small models
#   docker build --file containers/ovms.Dockerfile --tag emotions-ovms .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --publish 127.0.0.1:8000:8000 emotions-ovms
# A new model is a new image; nothing is mounted. The digest is yours to add, once you have pulled
# and checked the image: --build-arg OVMS_IMAGE=openvino/model_server:2026.4.1@sha256:...
ARG OVMS_IMAGE=openvino/model_server:2026.4.1

FROM ${OVMS_IMAGE}
# Owned by root and readable by all: the server may not change what it serves.
COPY --chown=0:0 --chmod=755 models/ /models/
COPY --chown=0:0 --chmod=644 config.json /config/config.json
USER 5000:5000
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /v2/models/emotions/ready HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200'"]
# Arguments of the image's own entry point.
CMD ["--config_path=/config/config.json", "--port=9000", "--rest_port=8000", "--rest_workers=64", "--grpc_max_threads=512", "--grpc_workers=1", "--file_system_poll_wait_seconds=1", "--log_level=INFO"]
