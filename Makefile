# Kabar: what is built and checked, and how. `make help` lists it.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: test
test: tools lint ## everything that must hold: formatting, vet, staticcheck, all tests with the race detector
	go test -race -timeout 20m ./...

.PHONY: lint
lint: ## formatting, vet, staticcheck
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: tools
tools: ## see that Go and redis-server are here; install redis-server and chromium where that can be done
	@command -v go >/dev/null || { echo "Go is missing: see https://go.dev/doc/install" >&2; exit 1; }
	@sh ./.ci/redis-server
	@sh ./.ci/chromium

.PHONY: build
build: ## build the daemon, the playground and the load generator into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/...

.PHONY: bench
bench: tools ## measure pushes and live sockets, beside the bare limits of the same run
	go run ./cmd/kabar-bench push
	go run ./cmd/kabar-bench live
