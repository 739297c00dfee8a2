FROM python:3.11-slim
WORKDIR /messenger
COPY pyproject.toml constraints.txt ./
COPY schemas schemas
COPY connectors connectors
COPY streams streams
COPY agents agents
COPY gateway gateway
COPY simulation simulation
COPY ops ops
COPY bench bench
COPY clients clients
RUN pip install --no-cache-dir -e . -c constraints.txt && useradd --create-home messenger && mkdir /state && chown messenger /state
USER messenger
ENTRYPOINT ["messenger"]
