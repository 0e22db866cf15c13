# Build: what has to be compiled, or only fetched, stays behind.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/fw
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY fw fw
COPY sql sql
RUN /opt/fw/bin/pip install '.[redis,sentry]'

FROM python:3.13-slim
LABEL org.opencontainers.image.title="FeedbackWave" org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/fw/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8080
COPY --from=build /opt/fw /opt/fw
# By number, so that a platform can see that it is not root; it owns nothing, and nothing is written.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=2)"]
CMD ["fw", "serve"]
