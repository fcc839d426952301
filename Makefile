# `make` lists the targets. Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export SQLX_OFFLINE ?= true
CARGO ?= cargo

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: setup
setup: ## install what is missing (compiler, PostgreSQL, Postfix, strace, iproute2, npm, pip): the one step that uses root or sudo
	@scripts/setup.sh

.PHONY: build
build: ## build every binary
	@scripts/setup.sh demo
	$(CARGO) build --workspace --locked

.PHONY: demo
demo: build ## archive real mail, find it, prove it, catch a tamper (MAIL=path: your mbox, Maildir or EML folder)
	@MAIL="$(MAIL)" scripts/demo.sh

.PHONY: lint
lint: setup ## formatting, clippy, licences and forbidden edges
	@scripts/lint.sh

.PHONY: test
test: setup ## the test-suite: starts its own PostgreSQL; Postfix tests need root
	@scripts/test.sh

.PHONY: corpus
corpus: ## fetch the public SpamAssassin mail set (6,046 mails, CC0) into .cache/
	@scripts/corpus.sh

.PHONY: test-full
test-full: ## all real mail (6,046 of SpamAssassin and the test mail of other programs) through SMTP and import
	@scripts/setup.sh full
	@scripts/corpus.sh all
	$(CARGO) build --workspace --locked --bins --tests
	OPENARCHIVE_CORPUS_MAILS=all $(CARGO) test --workspace --locked --test end_to_end -- --nocapture real_mail

.PHONY: test-operator
test-operator: setup ## the operator and its charts alone, against a real API server; every fault at every kind of call; 100,000 random connections against its network policies
	@scripts/test-operator.sh

.PHONY: bench-operator
bench-operator: setup ## the operator before 10,000 objects on a real API server (P16; takes the machine for itself)
	@scripts/kubernetes.sh >/dev/null
	@bench/run.sh many_objects $(ARGS)

.PHONY: charts
charts: setup ## the Helm charts: lint, unit tests, schemas, alert rules
	@scripts/charts.sh

.PHONY: fuzz
fuzz: ## one parser under libFuzzer (TARGET=name, SECONDS=60); without a name: lists the targets
	@fuzz/run.sh "$(TARGET)" "$(or $(SECONDS),60)"

.PHONY: bench
bench: ## figures against Postfix, restic and borg, into bench/RESULTS.md (needs root, and the machine for itself)
	@bench/run.sh peers $(ARGS)

.PHONY: load
load: setup ## many agents against one archive, into bench/RESULTS.md (AGENTS=100)
	@bench/run.sh load --agents $(or $(AGENTS),100) $(ARGS)

.PHONY: gen
gen: setup ## regenerate gRPC code, OpenAPI and checked-query data
	@scripts/gen.sh
