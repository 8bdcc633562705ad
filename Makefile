# make demo: one bare machine after the other, from nothing to a login prompt.  make test: all tests.
SHELL := bash
GO ?= go
# One version for service and agent: the release of the file VERSION, and the commit.
VERSION := $(shell cat VERSION)+$(shell git describe --always --dirty --exclude '*' 2>/dev/null || echo source)
LDFLAGS := -s -w -X main.version=$(VERSION)
AGENT_LDFLAGS := -s -w -X 'github.com/billet-metal/billet/agent.Version=billet-agent $(VERSION)'
export CGO_ENABLED := 0

OPENSTACK := .cache/openstack/venv
SMALL := .cache/openstack/small

.PHONY: help build demo test test-unit test-clients test-nova test-openstack test-lab test-lab-all matrix lint bench pictures clean deps-demo deps-test

help: ## the targets, a line each
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## bin/billet, with the agent inside
	@mkdir -p bin
	@$(GO) build -trimpath -ldflags "$(AGENT_LDFLAGS)" -o cmd/billet/billet-agent ./cmd/billet-agent
	@$(GO) build -trimpath -tags embed_agent -ldflags '$(LDFLAGS)' -o bin/billet ./cmd/billet

deps-demo:
	@scripts/deps demo

deps-test:
	@scripts/deps test

demo: deps-demo ## the main job, on virtual machines
	@scripts/demo

test: deps-test lint test-unit test-clients test-lab ## everything

# The linters are built by Go itself, from the module proxy: 130 processor seconds once, and 40 for a run. .golangci.yml says which;
# what they cannot hold (widths, log keys, imports, where a package is explained) the tests at the root do.
LINTERS := .cache/bin/golangci-lint-v2.15.0

lint: $(LINTERS) ## formatting, vet and the linters of .golangci.yml
	@test -z "$$(git ls-files "*.go" | xargs gofmt -l)" || { echo "gofmt would change:"; git ls-files "*.go" | xargs gofmt -l; exit 1; }
	@$(GO) vet ./...
	@$(LINTERS) run --timeout 15m ./...

$(LINTERS):
	@mkdir -p $(@D)
	@GOBIN=$(CURDIR)/$(@D) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	@mv $(@D)/golangci-lint $@

test-unit: ## packages, both databases, peers on loopback
	$(GO) test -timeout 12m -p 4 $$($(GO) list ./... | grep -v -e /compat -e /e2e -e /bench) # most of a test is waiting

test-clients: $(SMALL)/installed ## real clients against the real binary, among the real Keystone, Glance and Swift
	BILLET_TEST_OPENSTACK=$(CURDIR)/$(SMALL) $(GO) test -timeout 12m ./compat/...
	@echo "NOT TESTED here: Nova, Placement, and Neutron with a switch: make test-openstack installs them (400 MB) and tests them."
	@test -e $(NOVA)/installed || echo "NOT TESTED: the compute service's own driver (nova, 260 MB). make test-nova installs it and runs its test."

# The services' own programs, in environments of the system's Python, which uWSGI is made for.
$(OPENSTACK)/installed: compat/cloud/requirements.txt compat/cloud/requirements-small.txt
$(SMALL)/installed: compat/cloud/requirements-small.txt
$(OPENSTACK)/installed $(SMALL)/installed:
	/usr/bin/python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --no-compile --disable-pip-version-check -r $<
	@touch $@

test-openstack: ## the whole cloud: servers of Nova on machines that really boot, all of Neutron, Glance, Swift and Keystone (root)
	@scripts/test-openstack

NOVA := .cache/nova
test-nova: $(NOVA)/installed ## the compute service's own driver against the real binary
	$(GO) test -timeout 5m -v -count 1 -run TestNovaDriver ./compat

$(NOVA)/installed: compat/testdata/nova-requirements.txt
	python3 -m venv $(NOVA)
	$(NOVA)/bin/pip install --quiet --no-compile -r $<
	@touch $@

# Tests whose names begin with TestLong take minutes: `make test-lab-all` runs them too; one alone: go test ./e2e -run NAME -v

test-lab: build ## machines that really boot (root)
	$(GO) test -timeout 20m -parallel 3 -v -skip '^TestLong' ./e2e/... # most of a test is waiting

test-lab-all: build ## the same with the long cells
	$(GO) test -timeout 60m -v ./e2e/...

matrix: build ## every way to deploy, a cell a line; one alone: make matrix CELL=uefi/direct/whole-disk/local/raw
	$(GO) test -timeout 90m -v -run 'TestLongMatrix/$(CELL)' ./e2e

bench: ## figures against peers
	$(GO) test -run '^$$' -bench . ./bench/...

pictures: build ## the README's pictures, of virtual machines that boot (root)
	@scripts/pictures

clean:
	rm -rf bin .cache cmd/billet/billet-agent
