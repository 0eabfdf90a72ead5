# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The C compiler that SQLite and ring need is in the image.
# Dependencies first: they change less often than the code, and take longer.
COPY Cargo.toml Cargo.lock ./
COPY crates ./crates
# The manifest names benches, which have to be there and are not built.
RUN mkdir -p src benches/throughput benches/chaos \
    && echo 'fn main() {}' > src/main.rs \
    && cp src/main.rs benches/throughput/main.rs \
    && cp src/main.rs benches/chaos/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -rf src
COPY src ./src
COPY migrations ./migrations
COPY examples ./examples
# A file copied with an old date would not be built again.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked

FROM debian:bookworm-slim
# An init: it passes signals on, and reaps what programs leave behind.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 10001 rethread \
    && useradd --system --uid 10001 --gid rethread --home-dir /data --shell /usr/sbin/nologin rethread \
    && install --directory --owner rethread --group rethread --mode 0750 /data
# Whom steps trust when they connect with TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/rethread /usr/local/bin/rethread
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
# Reachable from outside the container, so RETHREAD_API_KEYS has to be set: the server says so.
ENV RETHREAD_ADDR=0.0.0.0:8080 \
    DATABASE_URL=sqlite:///data/rethread.db
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["rethread", "health"]
ENTRYPOINT ["/usr/bin/tini", "--", "rethread"]
CMD ["serve"]
