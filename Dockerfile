# docker build -t clusterseg:cuda .                                     (PyTorch's default build, which has CUDA)
# docker build -t clusterseg:cpu --build-arg TORCH_INDEX=URL .          (URL: of the CPU wheels, as pytorch.org names it)
# docker run --rm -v "$PWD:/work" [--gpus all] clusterseg train experiment=demo
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=
# The compiler builds the engine for CPUs; it stays in this stage.
# Debian keeps one version of each package.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/clusterseg
ENV PATH=/opt/clusterseg/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The range is that of pyproject.toml.
# hadolint ignore=DL3013
RUN pip install "torch>=2.8,<2.14" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
COPY . /source
RUN pip install "/source[las,tensorboard]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/clusterseg /opt/clusterseg
ENV PATH=/opt/clusterseg/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["clusterseg"]
CMD ["--help"]
