# The image holds the program, the certificates of certificate authorities, an entry for its user, and the empty folders /tmp and
# /data: no shell, no library, no root. The program is linked statically, so it needs nothing else.
#   docker build -t refersion-destination .
# `.ci/image` builds it and runs it in an empty root.

# The compiler and a C compiler (the store, SQLite, is written in C). Any image with cargo, gcc and the package ca-certificates does.
ARG BUILDER=docker.io/library/rust:1.95-bookworm

FROM ${BUILDER} AS build
WORKDIR /build
# crt-static: libc is linked into the program. linux_getrandom: random numbers come from the kernel's call. The default looks for
# the call in a shared libc, finds none in a static program, and then needs /dev/urandom, which a minimal sandbox may not have.
# pack-relative-relocs: addresses that depend on where the program is loaded are listed in a thirtieth of the room.
ENV RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\" -C link-arg=-Wl,-z,pack-relative-relocs"
# The dependencies are built first, from empty sources, so that this layer stays as long as Cargo.toml and Cargo.lock do.
# Cargo.toml names the tests and the benchmark; empty files stand for them here. With --target, RUSTFLAGS are for the program alone,
# not for macros that the compiler loads.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir -p src tests/it tests/bench && touch src/lib.rs tests/it/main.rs tests/bench/main.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --release --locked --bin refersion-destination --target "$(rustc --print host-tuple)"
COPY config config
COPY src src
# cargo compares times: without touch, a source older than the layer above would count as built. Of a folder, COPY keeps the modes of
# what is in it, so each of / and /data is copied as a folder in a folder.
# inline-threshold: LLVM's own, 250, makes the program a twentieth larger, and not measurably faster.
RUN touch src/lib.rs src/main.rs \
 && cargo rustc --release --locked --bin refersion-destination --target "$(rustc --print host-tuple)" \
    -- -C llvm-args=-inline-threshold=25 \
 && mkdir -p /out/root/etc/ssl/certs /out/root/usr/local/bin /out/volumes \
 && mkdir -m 1777 /out/root/tmp && mkdir -m 700 /out/volumes/data \
 && cp "target/$(rustc --print host-tuple)/release/refersion-destination" /out/root/usr/local/bin/ \
 && cp /etc/ssl/certs/ca-certificates.crt /out/root/etc/ssl/certs/ \
 && echo 'nonroot:x:65532:65532:nonroot:/:/nonexistent' > /out/root/etc/passwd \
 && echo 'nonroot:x:65532:' > /out/root/etc/group

FROM scratch
COPY --from=build /out/root /
COPY --from=build --chown=65532:65532 /out/volumes /
# By number: Kubernetes cannot tell whether a name is root.
USER 65532:65532
# The default store is data/refersion-destination.db in the working directory.
WORKDIR /
VOLUME /data
EXPOSE 8080 9090
# On SIGTERM the service finishes within SERVER_DRAIN (8s), before `docker stop` loses patience (10s).
STOPSIGNAL SIGTERM
# Reads the same settings as `serve`: the environment, and the files that CONFIG_FILES names.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["/usr/local/bin/refersion-destination", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/refersion-destination"]
CMD ["serve"]
# --build-arg REVISION=$(git rev-parse HEAD) says which sources these are.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="refersion-destination" \
      org.opencontainers.image.description="A Segment webhook destination that keeps Refersion affiliates in step" \
      org.opencontainers.image.version="0.13.0" \
      org.opencontainers.image.revision="${REVISION}"
