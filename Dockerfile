# The page and the service. CPU: --build-arg TORCH_ARGS="--index-url INDEX", with the CPU index of PyTorch's install
# page. CUDA: as it is, and `docker run --gpus all`.
FROM python:3.11-slim

ARG TORCH_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# torch first and alone, so that its index is asked for nothing else. Its versions are the package's own ranges.
# hadolint ignore=DL3013
RUN pip install ${TORCH_ARGS} "torch>=2.10" && pip install ".[serve]"

RUN useradd --create-home --uid 1000 stg && mkdir /state && chown stg /state
USER 1000
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["bridge-stg"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--folder", "/state"]
