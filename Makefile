# Everything here works with Python 3.11+ and make alone: the first command makes .venv, and PostgreSQL comes with it.

.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
DESK := $(PYTHON) -m scripts.desk
CHECKS := $(DESK) checks --
# Each proves what its room promises about money; `make verify` runs them all, and fails if one does.
VERIFY := verify_ledger verify_positions verify_commissions verify_audit

.PHONY: help run demo replay verify test browser-test screenshots check lint format types layers migrations deploy bench bench-engines bench-selection bench-back-office bench-cost bench-33k bench-curve bench-hot referral-storm shared-referrer faults drill mutants shell secret reset clean lock audit venv venv-dev venv-audit venv-browser venv-bench test-pgbouncer schemathesis failover bank-run models mutation

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: export DESK_FOLLOW_PARENT := 1
run: venv ## Start everything (HOST, PORT, FEED=off and DATABASE_URL are honoured); Ctrl-C stops it
	@$(PYTHON) -m scripts.run

demo: venv ## Play a client's day against the running server, and tell it
	@$(PYTHON) -m scripts.demo

replay: venv ## Let clients trade at random over real bars, then check every figure (ACCOUNTS=1000 DAYS=all ACTIONS=5 SEED=2)
	@$(PYTHON) -m scripts.replay $(ACCOUNTS:%=--accounts=%) $(DAYS:%=--days=%) $(ACTIONS:%=--actions=%) $(SEED:%=--seed=%)

verify: venv ## Check every figure in the ledger; fails on any break
	@for command in $(VERIFY); do $(DESK) manage $$command || exit 1; done

test: venv-dev ## Run all tests, or a part of them (T=tests/wallets)
	@$(PYTHON) -m pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal $(T)

test-pgbouncer: export TEST_BEHIND_PGBOUNCER := 1
test-pgbouncer: venv-dev ## The same with PgBouncer in transaction mode before the database (T=tests/wallets)
	@$(PYTHON) -m scripts.pgbouncer
	@$(PYTHON) -m pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal $(T)

schemathesis: venv-dev ## Make up requests from the API document by the thousand, and see that answers keep to it (EXAMPLES=100)
	@SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),100) $(PYTHON) -m pytest --numprocesses=logical --maxprocesses=4 \
		--dist=worksteal --timeout=1800 tests/abuse/test_schemathesis.py

browser-test: venv-browser ## Test the back office in Chromium, installed first where it is missing (T=…)
	@$(PYTHON) -m scripts.chromium
	@$(PYTHON) -m pytest $(or $(T),tests/browser)

screenshots: venv-browser ## Photograph the main pages of the back office, on a desk made for it
	@$(PYTHON) -m scripts.chromium
	@$(PYTHON) -m tests.browser.screenshots

check: lint types layers migrations deploy test ## Everything that must hold before a change goes in

lint: venv-dev ## Style and formatting
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

format: venv-dev ## Format the code and mend what can be mended by machine
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format .

types: venv-dev ## Static types
	@$(CHECKS) $(PYTHON) -m mypy

layers: venv-dev ## Who may import whom
	@.venv/bin/lint-imports --cache-dir .import_linter_cache

migrations: venv-dev ## Migrations match the models, and are safe under load
	@$(CHECKS) $(PYTHON) manage.py makemigrations --check --dry-run
	@$(CHECKS) $(PYTHON) -m scripts.lint_migrations

deploy: venv-dev ## Django's own security checks, as in an installation
	@$(CHECKS) $(PYTHON) manage.py check --deploy --fail-level WARNING

bench: venv-bench ## Compare the desk with the usual stack and with bare PostgreSQL (ROUNDS=5 SECONDS=8 ONLY=desk,reference)
	@$(PYTHON) -m bench.compare $(ROUNDS:%=--rounds=%) $(SECONDS:%=--seconds=%) $(ONLY:%=--only=%)

bench-engines: venv-dev ## Whether two risk engines do to clients what one does, over a minute of replayed prices
	@$(PYTHON) -m bench.engines

bench-selection: venv-dev ## Whether finding what a price touches costs what is touched, or what is open
	@$(PYTHON) -m bench.selection

referral-storm: venv-dev ## Kill accrual jobs at random for a minute over 20,000 deals, and add up what they paid
	@$(PYTHON) -m bench.referral_storm

bank-run: venv-dev ## Sixteen writers and two readers for twenty seconds: is a total ever wrong? (SECONDS=20 READS=4000)
	@$(PYTHON) -m bench.bank_run $(SECONDS:%=--seconds=%) $(READS:%=--reads=%)

models: venv-dev ## Random programs over the whole desk, and every pair of operations at every point (PROGRAMS=2000 SEED=7)
	@MODEL_PROGRAMS=$(or $(PROGRAMS),2000) MODEL_SEED=$(or $(SEED),$(shell date +%s)) MODEL_PAIRS=all \
		$(PYTHON) -m pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal -rP tests/models

faults: venv-dev ## Break a desk at work, and say what its clients saw (F="F3 F5"; all of them if none is named)
	@$(PYTHON) -m bench.faults $(F)

drill: venv-dev ## Lose the database under load and restore it from the backup, as docs/OPERATIONS.md says
	@$(PYTHON) -m bench.drill

failover: venv-dev ## Lose the primary under load, let its standby take over, and see what was lost
	@$(PYTHON) -m bench.failover

mutants: venv-dev ## Take each safeguard out of a copy, and show the test that fails without it (NAMES="retry lock")
	@$(PYTHON) -m scripts.mutants $(NAMES)

mutation: venv-dev ## How many small mistakes in the code that moves money some test notices; an hour or two (FILES=core/db.py AGAIN=1)
	@$(PYTHON) -m scripts.mutation $(FILES) $(if $(AGAIN),--again)

bench-back-office: venv-dev ## Whether each page of the back office answers in 300 ms on 3,000,000 entries (ONLY=orders)
	@$(PYTHON) -m bench.back_office $(ONLY:%=--only=%)

bench-cost: venv-dev ## What one request costs in one process: Python calls, statements, processor time
	@$(PYTHON) -m bench.cost

bench-33k: venv-dev ## 33,000 connections for five minutes, then twice what the desk can do (MINUTES=5 MEMBERS=33000 ROUNDS=5 THREADS=4)
	@$(PYTHON) -m bench.promise $(MINUTES:%=--minutes=%) $(MEMBERS:%=--members=%) $(ROUNDS:%=--rounds=%) $(THREADS:%=--threads=%)

bench-curve: venv-dev ## What more connections and more wallets cost (CONNECTIONS=100,1000 WALLETS=33000 RATE=300)
	@$(PYTHON) -m bench.curve $(CONNECTIONS:%=--connections=%) $(WALLETS:%=--wallets=%) $(RATE:%=--rate=%)

bench-hot: venv-dev ## What it costs when everybody is at one wallet, or in one instrument
	@$(PYTHON) -m bench.hot

lock: venv-audit ## Write what the requirements come to, with the hashes of all files (UPGRADE=1 for the newest)
	@$(PYTHON) -m scripts.lock $(if $(UPGRADE),--upgrade)

audit: venv-audit ## Ask the advisory services about every locked package, and write var/sbom.json (ADVISORIES=osv.zip)
	@$(PYTHON) -m scripts.audit $(ADVISORIES:%=--advisories=%)

shared-referrer: venv-dev ## Measure whether a referrer with 5,000 active clients slows them
	@$(PYTHON) -m bench.shared_referrer

shell: venv ## A Python shell on the demo's database
	@$(DESK) manage shell

secret: venv ## Print fresh values for every secret
	@$(DESK) secret

reset: venv ## Forget the demo: database, secrets, cast
	@$(DESK) reset

clean: venv ## Delete the tests' databases and the tools' caches
	@$(DESK) clean

venv:
	@python3 scripts/venv.py requirements.lock

venv-dev: venv
	@python3 scripts/venv.py requirements-dev.lock

venv-audit: venv-dev
	@python3 scripts/venv.py requirements-audit.lock

venv-browser: venv-dev
	@python3 scripts/venv.py requirements-browser.lock

# Node.js by a wheel only where there is none.
venv-bench: venv-dev
	@command -v node >/dev/null && command -v npm >/dev/null || python3 scripts/venv.py requirements-bench.lock
