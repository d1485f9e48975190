# `reface` and `reident-risk`, with their weights; docs/containers.md says how to use the image.
# Every line that begins with "RUN pip install" is one of README.md's.
FROM python:3.11-slim-bookworm AS build
COPY . /src
WORKDIR /src
RUN python -m venv /opt/reface
# Of PyTorch's index the version of torch alone is fixed: it has not all versions of other packages.
RUN grep '^torch==' constraints.txt > torch.txt
ENV PATH=/opt/reface/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/src/torch.txt
RUN pip install torch --index-url https://download.pytorch.org/whl/cpu
ENV PIP_CONSTRAINT=/src/constraints.txt
RUN pip install ".[bids]"

FROM python:3.11-slim-bookworm
# OpenGL, with which VTK draws off screen
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libgl1 libxrender1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/reface /opt/reface
# Any user may run it: nothing is written but the outputs, and to /tmp.
ENV PATH=/opt/reface/bin:$PATH HOME=/tmp XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /tmp
RUN reface --version && reident-risk --version
CMD ["reface", "--help"]
