# `ov-emotions serve` as an image. From the folder above, with the wheel in it:
#   pip wheel --no-deps --wheel-dir wheels PATH-OF-OV-EMOTIONS
#   docker build --file containers/server.Dockerfile --tag ov-emotions .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --publish 127.0.0.1:8000:8000 ov-emotions
# Options of `ov-emotions serve` go behind the image's name. The digest is yours to add, once you
# have pulled and checked the image: --build-arg PYTHON_IMAGE=python:...@sha256:...
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
COPY wheels/ /wheels/
# Without pip inside: the result only runs.
RUN python -m venv --without-pip /opt/venv \
    && for wheel in /wheels/ov_emotions-*.whl; do \
        python -m pip --python /opt/venv/bin/python install --no-cache-dir "${wheel}[server]" \
        || exit 1; done \
    && /opt/venv/bin/ov-emotions info > /dev/null

FROM ${PYTHON_IMAGE}
RUN python -m pip uninstall --yes pip \
    && groupadd --gid 5000 emotions \
    && useradd --uid 5000 --gid 5000 --no-create-home --shell /usr/sbin/nologin emotions
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 5000:5000
EXPOSE 8000
# It finishes what it took, and is ready no more meanwhile.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["ov-emotions", "serve", "--host", "0.0.0.0", "--port", "8000"]
