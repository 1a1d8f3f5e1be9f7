# Built in one image, run in another that holds the program and TLS certificates and nothing else: no shell, no root.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY config config
COPY src src
# Cargo.toml names the tests and the benchmark; empty files stand for them here.
RUN mkdir -p tests/it tests/bench && touch tests/it/main.rs tests/bench/main.rs \
 && cargo build --release --locked --bin refersion-destination \
 && mkdir -p /out/data && cp target/release/refersion-destination /out/

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/refersion-destination /usr/local/bin/refersion-destination
COPY --from=build --chown=nonroot:nonroot /out/data /data
ENV STORE_URL=sqlite:///data/refersion-destination.db
VOLUME /data
EXPOSE 8080 9090
# On SIGTERM the service finishes within SERVER_DRAIN (8s), before `docker stop` loses patience (10s).
HEALTHCHECK --interval=10s --timeout=6s --start-period=2s CMD ["/usr/local/bin/refersion-destination", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/refersion-destination"]
CMD ["serve"]
