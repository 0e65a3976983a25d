# docker build -t chancery .
# docker buildx build --platform linux/amd64,linux/arm64 -t chancery .

# Each platform builds its own binary: no cross compiler, and nothing here names an architecture.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY assets assets
COPY src src
COPY tests/integration.rs tests/integration.rs
COPY xtask xtask
RUN cargo build --release --locked --bin chancery

# glibc and CA certificates, no shell; its nonroot user has the id 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /src/target/release/chancery /usr/local/bin/chancery
COPY config /config
USER 65532:65532
EXPOSE 18000 18001
HEALTHCHECK --interval=5s --timeout=3s --start-period=2s CMD ["/usr/local/bin/chancery", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/chancery"]
CMD ["serve", "/config/topology.yaml"]
