# Kabar: what is built and checked, and how. `make help` lists it.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Redocly needs a newer Node.js than Debian 12 has: it runs with its own.
REDOCLY     = --package=node@22.23.3 --package=@redocly/cli@2.77.0
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.NOTPARALLEL: # make setup test does one after the other

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: setup
setup: ## install what the tests need: a C compiler, redis-server, promtool, curl, npx, Chromium, nginx, Caddy
	@sh ./.ci/setup

.PHONY: test
test: tools lint ## everything that must hold: formatting, vet, staticcheck, all tests with the race detector, some fuzzing
	go test -race -timeout 30m ./...
	@sh ./.ci/fuzz 5000x

.PHONY: lint
lint: lint-api ## formatting, vet, staticcheck, the documents of the APIs
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: lint-api
lint-api: ## the documents of the APIs alone, by the rules of docs/redocly.yaml
	@command -v npx >/dev/null || { echo "npx is missing: make setup installs it (Debian, Ubuntu: apt-get install npm)" >&2; exit 1; }
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx --yes --prefer-offline $(REDOCLY) -- \
		redocly lint --config docs/redocly.yaml docs/openapi.yaml docs/asyncapi.yaml

.PHONY: tools
tools: ## see that what the tests need is here; install nothing
	@sh ./.ci/setup check

.PHONY: build
build: ## build the daemon, the playground and the load generator into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/...

.PHONY: bench
bench: ## measure pushes and live sockets, beside the bare limits of the same run
	go run ./cmd/kabar-bench push
	go run ./cmd/kabar-bench live

.PHONY: faults
faults: tools ## real processes under load for 15 minutes, while Redis, FCM, APNs and they themselves fail; TEST_SEED repeats a run
	TEST_FAULTS=10m go test -race -count=1 -timeout 60m -v -run TestFaults ./cmd/kabar

.PHONY: fuzz
fuzz: ## fuzz the parser of everything that comes from outside, each for five minutes; TEST_FUZZ sets another time
	@sh ./.ci/fuzz $${TEST_FUZZ:-5m}

.PHONY: soak
soak: tools ## the same load for eight hours without faults, with a line a minute; TEST_SOAK sets another time
	TEST_SOAK=$${TEST_SOAK:-8h} go test -count=1 -timeout 0 -v -run TestSoak ./cmd/kabar
