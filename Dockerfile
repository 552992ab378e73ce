# A static binary on an image that holds nothing else.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN mkdir /data && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /kabar ./cmd/kabar

# Root certificates for FCM and APNs, and a numeric user; nothing to log in to.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /kabar /kabar
# Attachments of chats, unless attachments.url names another place.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /data
VOLUME /data
USER 65532:65532
# Metrics, health and pprof, for other containers of the network: there is no
# authentication on this port, so never publish it.
ENV KABAR_ADMIN_LISTEN=:9090
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s CMD ["/kabar", "healthcheck"]
ENTRYPOINT ["/kabar"]
CMD ["serve"]
