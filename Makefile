# One verb a target. `make` alone lists them.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BUILD   := .build
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath
# Tools are pinned in a module of their own and kept in Go's build cache.
TOOL     = $$(cd tools && go tool -n $(1))
CLUSTER := go run ./test/cluster

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## bring up a real cluster and deliver two commits to it (KEEP=1 leaves it up)
	go run ./test/demo

.PHONY: demo-down
demo-down: ## take the cluster of `make demo` away
	$(CLUSTER) down --name lockstep-demo

.PHONY: test
test: deps-test ## unit, PostgreSQL, git and control-plane tests, race detector on
	@kubeconfig=$$(mktemp); \
	trap '$(CLUSTER) down --name lockstep-test; rm -f "$$kubeconfig"' EXIT; \
	$(CLUSTER) up --name lockstep-test --mode control-plane --kubeconfig "$$kubeconfig"; \
	export LOCKSTEP_TEST_KUBECONFIG="$$kubeconfig"; \
	go test -race -count=1 -timeout 20m ./... ; \
	(cd test/helm && go test -count=1 ./...)

.PHONY: e2e
e2e: deps-e2e ## the suite on a real node, or on the cluster that KUBECONFIG names
	go test -tags e2e -count=1 -v -p 1 -timeout 40m $(if $(KUBECONFIG),,./test/cluster) ./test/e2e

.PHONY: bench
bench: bench-render bench-apply ## print every figure: value, goal, ok or short

.PHONY: bench-render
bench-render: ## figures of source and render (90 s)
	@test/install.sh git
	go run ./test/bench/render

.PHONY: bench-apply
bench-apply: ## figures of apply, drift and scale, against a bare loop (6 min)
	@test/install.sh git
	go run ./test/bench/apply

.PHONY: build
build: ## build the binaries into .build/bin
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BUILD)/bin/lockstep ./cmd/lockstep
	$(GOBUILD) -ldflags '-s -w' -o $(BUILD)/bin/unity ./cmd/unity

.PHONY: image
image: build ## write the images as archives into .build/images, without Docker
	@mkdir -p $(BUILD)/images
	$(CLUSTER) image --binary $(BUILD)/bin/lockstep --name lockstep.local/lockstep:dev --out $(BUILD)/images/lockstep.tar

.PHONY: generate
generate: ## write deepcopy code, the CRD, and the chart's copy of it
	$(call TOOL,controller-gen) object paths=./reconciler/api/...
	$(call TOOL,controller-gen) crd:crdVersions=v1 paths=./reconciler/api/... output:crd:artifacts:config=manifests/crd
	@mkdir -p charts/lockstep/crds
	cp manifests/crd/lockstep.dev_releases.yaml charts/lockstep/crds/

.PHONY: lint
lint: ## hold the style and the architecture
	$(call TOOL,golangci-lint) run ./...

.PHONY: verify
verify: generate ## generate, format, tidy and lint; fails when that changes a file
	gofmt -l -w cmd reconciler migrations test
	go mod tidy
	cd test/cluster/node && go mod tidy
	cd test/helm && go mod tidy
	go vet ./...
	go vet -tags e2e ./test/cluster ./test/e2e
	$(MAKE) lint
	@git diff --exit-code || { echo 'verify: the files above differ from what is committed' >&2; exit 1; }

.PHONY: deps-test
deps-test: ## install what `make test` needs (Debian, as root), or say what is missing
	@test/install.sh git gcc libc6-dev postgresql-15 openssh-server gnupg pgbouncer python3-alembic python3-psycopg2

.PHONY: deps-e2e
deps-e2e: ## install what `make e2e` needs (Debian, as root), or say what is missing
	@test/install.sh git
