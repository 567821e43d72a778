# One image for workers, publisher and console: the same packages as everywhere else, held to the digests of requirements.lock.
FROM python:3.11-slim AS build
# The version that requirements.lock has.
ARG UV_VERSION=0.13.9
RUN python -m pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv /opt/npo
ENV VIRTUAL_ENV=/opt/npo
WORKDIR /source
COPY pyproject.toml requirements.lock ./
RUN uv pip install --no-cache --requirement pyproject.toml --constraint requirements.lock
COPY LICENSE ./
COPY schemas schemas
COPY agents agents
COPY streams streams
COPY experiments experiments
COPY deploy deploy
RUN uv pip install --no-cache --no-deps --build-constraint requirements.lock .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home npo && install --directory --owner npo /var/lib/npo
COPY --from=build /opt/npo /opt/npo
# State is kept here; it may be lost at any time and is rebuilt from the changelog topics.
ENV PATH=/opt/npo/bin:$PATH NPO_HOME=/var/lib/npo PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/npo
USER 10001
CMD ["npo", "--help"]
