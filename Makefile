# The two commands of a user are at the top; `make help` lists all.
SANDBOX ?= 0
sandbox := ./sandbox/sandbox --number $(SANDBOX)

# The order of the parts is part of what `make test` promises; each uses both cores by itself.
.NOTPARALLEL:

.PHONY: help
help: ## what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | column -t -s '	'

.PHONY: sandbox
sandbox: ## start a real one-node cluster, registry and git server; SANDBOX=1 for a second one
	@$(sandbox) up

.PHONY: sandbox-down
sandbox-down: ## end it and remove all that it made; KEEP=1 keeps its state
	@$(sandbox) down $(if $(KEEP),--keep)

.PHONY: sandbox-status
sandbox-status: ## how its programs are doing
	@$(sandbox) status

.PHONY: sandbox-shell
sandbox-shell: ## a shell with kubectl, helm, crane and buildctl that talk to it
	@$(sandbox) shell

.PHONY: sandbox-build
sandbox-build: ## build what a sandbox needs, without starting one
	@$(sandbox) build

# What the tests need first is built first: a failing lint does not wait for Kubernetes to compile.
.PHONY: test
test: lint test-unit test-apiserver sandbox-test ## all that CI runs

.PHONY: crds
crds: ## write the custom resource definitions from the types
	cargo run --locked --quiet -- crd --directory crds

.PHONY: lint
lint: ## formats, lints and documentation of all code
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items
	test -z "$$(gofmt -l sandbox)" || { gofmt -d sandbox; exit 1; }
	cd sandbox && go vet ./...

.PHONY: test-unit
test-unit: ## what needs neither cluster nor root
	cargo test --locked --lib --bins --test layers --test budgets -- --nocapture
	cd sandbox && go test ./internal/...

.PHONY: test-apiserver
test-apiserver: ## against real API servers, without root
	cargo test --locked --test '*' -- --nocapture

.PHONY: sandbox-test
sandbox-test: ## the sandbox proves itself on real pods; needs root
	@./sandbox/sandbox build
	cd sandbox && go test -count=1 -timeout 30m -v ./selftest
