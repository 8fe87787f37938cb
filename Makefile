# Every command that README names. `make demo` and `make test` need git, make and Python 3.11;
# everything else they install or start themselves.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint unit e2e test-long test-backup test-faults el-smoke test-el test-all \
    bench bench-failover bench-backup clean lock

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

demo: .venv/ready  ## six containers, the cluster on them, the proofs, and a screen to start from
	@$(BIN)/python testbed/demo.py $(if $(BASE_IMAGE),--base $(BASE_IMAGE))

test: lint unit e2e el-smoke  ## what must pass before a change lands (about 40 minutes)

lint: .venv/ready  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

unit: .venv/ready  ## the tests that need no hosts
	$(BIN)/pytest -q -m "not e2e"

# $(1): tests. They have a testbed of their own: a running demo is left alone. The engine is started
# and the image built outside of any test's deadline. What failed is left for a look.
define on_containers
	$(BIN)/python testbed/testbed.py up --outsider
	@$(BIN)/pytest -v --tb=short $(1) || { status=$$?; \
	    echo "the containers $$PGHA_TESTBED-* are left for a look"; exit $$status; }
	@$(BIN)/python testbed/testbed.py down >/dev/null
endef

e2e: export PGHA_TESTBED = pgha-test
e2e: .venv/ready  ## the tests on real services in containers
	$(call on_containers,-m "e2e and not long" tests/e2e)

test-long: export PGHA_TESTBED = pgha-test
test-long: .venv/ready  ## the tests of minutes each: restores, the other transport, a new authority
	$(call on_containers,-m "e2e and long" tests/e2e)

test-backup: export PGHA_TESTBED = pgha-test
test-backup: export PGHA_SCALE = 75
test-backup: .venv/ready  ## backups, rehearsals and restores, all of their tests, on 1.1 GB of data
	$(call on_containers,-m e2e $(addprefix tests/e2e/test_,backup.py backup_access.py \
	    backup_tls.py backup_faults.py clone.py lost.py rehearsal.py repositories.py restore.py \
	    restore_table.py))

test-faults: export PGHA_FAULTS = every
test-faults: export PGHA_ONLY = $(FAULTS)
test-faults: export PGHA_TESTBED = pgha-test
test-faults: .venv/ready  ## every fault twice under load; FAULTS="a b" for some (some 45 minutes)
	$(call on_containers,-m e2e tests/e2e/test_faults.py)

# Look-alikes of Enterprise Linux, which testbed/el/README.md is honest about.
EL_SMOKE := tests/e2e/test_deploy.py::test_second_run_changes_nothing \
    tests/e2e/test_deploy.py::test_no_failed_unit_anywhere \
    tests/e2e/test_verify.py::test_all_proofs_hold_on_a_healthy_cluster
EL_TESTS := $(addprefix tests/e2e/test_,deploy.py failover.py backup.py verify.py \
    restore.py::test_to_a_time_across_a_failover_and_back)

# $(1): the image that hosts stand on; $(2): tests. The image is built outside of any test's deadline.
define on_a_look_alike
	@$(BIN)/python testbed/testbed.py down >/dev/null 2>&1 || true # no engine runs, no host is left
	$(BIN)/python testbed/testbed.py up --base $(1) --outsider
	@PGHA_KEEP=1 PGHA_BASE=$(1) $(BIN)/pytest -v --tb=short -m e2e $(2) || { status=$$?; \
	    echo "the containers $$PGHA_TESTBED-* ($(1)) are left for a look"; exit $$status; }
	@$(BIN)/python testbed/testbed.py down >/dev/null
endef

el-smoke: export PGHA_TESTBED = pgha-test
el-smoke: .venv/ready  ## deploy, second run and proofs on a look-alike of Enterprise Linux 8
	$(call on_a_look_alike,el8,$(EL_SMOKE))

test-el: export PGHA_TESTBED = pgha-test
test-el: .venv/ready  ## deploys, failovers, backups, a restore on look-alikes of EL 8, then 9
	$(call on_a_look_alike,el8,$(EL_TESTS))
	$(call on_a_look_alike,el9,$(EL_TESTS))

test-all: test test-long test-backup test-faults test-el bench bench-failover bench-backup  ## tests and measurements (half a day)

bench: .venv/ready  ## measure deploys, and write docs/benchmarks.md
	$(BIN)/python bench/deploy.py

bench-failover: .venv/ready  ## measure failovers, 20 of each kind, and write docs/failover.md
	$(BIN)/python bench/failover.py --quiet 30 --price
	$(BIN)/python bench/failover.py

bench-backup: .venv/ready  ## measure backups and restores, and write docs/backups.md
	$(BIN)/python bench/backup.py

clean:  ## remove the containers, networks and images made here
	$(PYTHON) testbed/testbed.py clean

# For every Python and platform; both locks name the same versions.
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
    --generate-hashes --no-header --no-annotate

lock: .venv/ready  ## pin what pyproject.toml allows, with hashes
	$(BIN)/pip install -q uv
	$(LOCK) --upgrade --group dev -o requirements-dev.lock pyproject.toml
	$(LOCK) --upgrade --constraint requirements-dev.lock -o requirements.lock pyproject.toml

# Debian keeps what `venv` needs in a package of its own.
.venv/ready: requirements-dev.lock
	@echo "making .venv and filling it from requirements-dev.lock"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(PYTHON) is missing, or older than 3.11"; \
	         echo "    HINT: name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { [ "$$(id -u)" = 0 ] && apt-get -q update && apt-get -q -y install python3-venv; } \
	    || { echo "Python cannot make a virtual environment"; \
	         echo "    HINT: install it as root: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
