# The operator's image: Python of Debian 12, the packages of requirements.txt by their hashes, and the operator, built by what is in
# requirements-build.txt.
# No shell is needed at run time, nothing is written, and it runs as a user without a name. `make image` builds it;
# for several architectures: docker buildx build --platform linux/amd64,linux/arm64 --tag NAME:VERSION --push .
# The base is pinned by the digest of its index for all architectures, so a new one of Debian's fixes comes only when somebody writes it here
# (docker buildx imagetools inspect python:3.11-slim-bookworm) or gives it: --build-arg PYTHON=...
ARG PYTHON=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${PYTHON} AS packages
COPY requirements.txt /src/
RUN pip install --no-cache-dir --no-compile --require-hashes --only-binary=:all: --target /opt/sandmount -r /src/requirements.txt
COPY pyproject.toml README.md LICENSE requirements-build.txt /src/
COPY crds/sandboxes.yaml /src/crds/
COPY operator /src/operator
RUN pip install --no-cache-dir --require-hashes --only-binary=:all: -r /src/requirements-build.txt
RUN pip install --no-cache-dir --no-compile --no-deps --no-build-isolation --target /opt/sandmount /src
# Compiled here, as nothing can be written at run time; by its content, as a layer may lose times.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/sandmount

FROM ${PYTHON}
COPY --from=packages /opt/sandmount /opt/sandmount
ENV PYTHONPATH=/opt/sandmount PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /
ENTRYPOINT ["python3", "-m", "sandmount"]
CMD ["run"]
