# Being on any machine without a GPU:
#   docker build -t being .
#   docker run --rm -p 8000:8000 --shm-size 1g -v $PWD/avatars:/avatars being
FROM python:3.11-slim-bookworm

# The CPU build of PyTorch; the default one brings gigabytes of CUDA.
RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu

WORKDIR /srv/being
COPY pyproject.toml README.md LICENSE serve_config.yaml ./
COPY being being
COPY deployments deployments
COPY extern extern
RUN pip install --no-cache-dir .

RUN useradd --create-home being && mkdir /avatars && chown being /avatars
USER being
ENV BEING_AVATARS=/avatars OMP_WAIT_POLICY=passive OPENBLAS_THREAD_TIMEOUT=4 RAY_USAGE_STATS_ENABLED=0
# Compile the drawing kernels once, into the image.
RUN being render --sample -o /tmp/warm.mp4 && rm /tmp/warm.mp4

EXPOSE 8000
HEALTHCHECK --start-period=90s --interval=15s CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"
CMD ["being", "serve", "serve_config.yaml", "--host", "0.0.0.0"]
