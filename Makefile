# Two commands set everything up: `make run` (Python packages only) and `make test`.
PYTHON ?= $(shell for v in 3.14 3.13 3.12 3.11; do \
	command -v python$$v >/dev/null 2>&1 && python$$v -c 'import ensurepip' 2>/dev/null && echo python$$v && break; done || true)
ifeq ($(strip $(PYTHON)),)
PYTHON := python3
endif
BIN := .venv/bin

.PHONY: run test check format lock bench bench-metering crash-loop bench-media loss-media differ-media \
	fuzz-text fuzz-media flood-media interop invariants invariants-long measure-media-memory clean servers migration

run: .venv/.run
	@$(BIN)/metaport run

test: .venv/.dev servers
	$(BIN)/python -m pytest

# What talks to Redis, on Valkey: the package where the distribution has one (Debian 13 or backports,
# Ubuntu 24.10, Homebrew), or REDIS_SERVER=/path/to/valkey-server. About 3 minutes.
REDIS_TESTS := $(shell grep -rlE "redis_server|redis_program" tests --include="test_*.py" | sort)
.PHONY: test-valkey
test-valkey: export REDIS_SERVER := $(or $(REDIS_SERVER),valkey-server)
test-valkey: .venv/.dev servers
	$(BIN)/python -m pytest $(REDIS_TESTS)

# Hub processes with real people over Sentinels and a cluster; `test` has one of each. 4 minutes.
.PHONY: test-hubs-long
test-hubs-long: .venv/.dev servers
	for kind in sentinel cluster; do \
		REDIS_KIND=$$kind $(BIN)/python -m pytest tests/system/test_hubs.py \
			tests/system/test_hubs_without_websocket.py -k "not hang_and_lose and not on_sentinels" \
			|| exit 1; done

check: .venv/.dev clients/js/node_modules/.package-lock.json
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	npm run --silent --prefix clients/js check

# The compiler of TypeScript, for the SDK's types: version and hash in its lock, no address.
clients/js/node_modules/.package-lock.json: clients/js/package-lock.json
	@command -v npm >/dev/null 2>&1 || sh tests/system/install_servers.sh
	npm ci --silent --prefix clients/js
	@touch $@

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev
	$(BIN)/python -m loadtest all --out loadtest/results

# What a forwarded packet costs, beside Janus where it is installed; root makes a network for it.
# About 8 minutes, on a machine that has nothing else to do.
bench-media: .venv/.dev
	$(BIN)/python -m loadtest forwarding --out loadtest/results

# Beside nats-server and uWebSockets.js, which it fetches into build/peers; about 10 minutes.
# SCENARIO="180 2000" and PEERS="metaport ws Socket.IO" choose, REPEATS repeats.
REPEATS ?= 5
.PHONY: bench-text bench-comeback autobahn autobahn-long
bench-text: .venv/.dev
	$(BIN)/python -m loadtest.race $(SCENARIO) --repeats $(REPEATS) $(if $(PEERS),--peers $(PEERS))

# Chromium to Chromium over a link that loses 2, 5 and 10 %, beside Janus: about 10 minutes.
loss-media: .venv/.dev
	$(BIN)/python -m loadtest loss --repeats $(LOSS_REPEATS) --out loadtest/results
LOSS_REPEATS ?= 2

# What counting, shipping and reporting cost; PARTS="count hub ship report" chooses.
bench-metering: .venv/.dev
	$(BIN)/python -m tests.bench.metering $(PARTS) --repeats $(REPEATS) --out loadtest/results

# Copying and verifying ROWS rows beside pg_dump | pg_restore, in one run.
ROWS ?= 5000000
.PHONY: bench-db
bench-db: .venv/.dev servers
	$(BIN)/python -m tests.bench.database --rows $(ROWS)

# Hub and SFU killed KILLS times under load, the database away and the disk full now and then.
KILLS ?= 300
crash-loop: .venv/.dev servers
	$(BIN)/python -m tests.crash.loop --kills $(KILLS)
# The properties of metering over 20 times the cases of `test`, about 5 minutes.
.PHONY: properties-long
properties-long: .venv/.dev
	PROPERTY_FACTOR=20 $(BIN)/python -m pytest -q tests/metering/test_properties.py \
		tests/metaport/test_usage_periods.py -k "not postgresql and not sqlite"
# Ten thousand people: a way in, idle memory, and all of them back after a kill.
bench-comeback: .venv/.dev
	$(BIN)/python -m loadtest.comeback

# Not part of `test`, which replays what was found: SECONDS and SEED say how long and which inputs.
SECONDS ?= 60
SEED ?= 1
# The compiled packet path against its specification, a million random packets each.
differ-media: .venv/.dev
	$(BIN)/python -m tests.fuzz.twins --seed $(SEED)

fuzz-text: .venv/.dev
	$(BIN)/python -m tests.fuzz.text --seconds $(SECONDS) --seed $(SEED)

# Begin a revision of the schema with what the tables have that the last revision has not.
migration: .venv/.dev
	@$(BIN)/python -m metaport.db.migrations.begin $(NAME)

.PHONY: fuzz-media
fuzz-media: .venv/.dev
	$(BIN)/python -m tests.fuzz.media --seconds $(SECONDS) --seed $(SEED)

# Browsers, players and encoders of other makers meet in one room; ONLY picks meetings by name.
ONLY ?=
.PHONY: interop
interop: .venv/.dev servers
	@sh tests/interop/install_clients.sh
	$(BIN)/python -m tests.interop --only "$(ONLY)"

# A million malformed packets, 20,000 a second, on the port of a live room.
.PHONY: flood-media
flood-media: .venv/.dev
	$(BIN)/python -m tests.sfu.flood

# KiB of the SFU for each participant with voice (Linux).
measure-media-memory: .venv/.dev
	$(BIN)/python -m tests.sfu.participant_memory

# Kills, stops, cuts and stalls around a hub, and what people hear meanwhile; with libfaketime
# (Debian: faketime) the hub's clock is stepped as well. `test` has a short run of it.
CLOCKS := $(if $(wildcard /usr/lib/*/faketime/libfaketime.so.1),--clocks)
invariants: .venv/.dev
	$(BIN)/python -m loadtest.invariants --seconds 20 --seed $(SEED) $(CLOCKS)
	$(BIN)/python -m loadtest.invariants --seconds 20 --seed $(SEED) --redis redis
	$(BIN)/python -m loadtest.invariants --seconds 30 --seed $(SEED) --redis sentinel
	$(BIN)/python -m loadtest.invariants --seconds 20 --seed $(SEED) --redis cluster

# What weaker settings of Redis can lose, seen: deploy/redis.md.
.PHONY: invariants-weak
invariants-weak: .venv/.dev
	for setting in everysec memory no-wait; do \
		$(BIN)/python -m loadtest.invariants --seconds 60 --seed $(SEED) --redis $$setting || exit 1; done

invariants-long: .venv/.dev
	$(BIN)/python -m loadtest.invariants --seconds 900 --seed $(SEED) --people 60 --rooms 12 $(CLOCKS)
	for setting in redis sentinel cluster; do \
		$(BIN)/python -m loadtest.invariants --seconds 600 --seed $(SEED) --people 40 --rooms 10 \
			--redis $$setting || exit 1; done

# The Autobahn cases of RFC 6455 on the hub's connections, 5 s; with large messages and RFC 7692: minutes.
autobahn: .venv/.dev
	$(BIN)/python -m tests.conformance
autobahn-long: .venv/.dev
	$(BIN)/python -m tests.conformance "9.*" "12.*" "13.*"

# Redis, PostgreSQL, MariaDB, Chromium and a Korean font, by the system's package manager, when they are missing.
servers:
	@sh tests/system/install_servers.sh

# REST beside a bare aiohttp handler on a bare asyncpg pool, by wrk: about a minute.
.PHONY: bench-api
bench-api: .venv/.dev servers
	$(BIN)/python -m tests.bench.api --repeats $(REPEATS)

# What the OpenAPI document allows and what it does not, asked at random; `test` has a short run.
.PHONY: schemathesis-long
schemathesis-long: .venv/.dev
	$(BIN)/python -m tests.metaport.api_schemathesis --examples $(EXAMPLES) --seed $(SEED)
EXAMPLES ?= 300

# The lock files hold versions and hashes only, no addresses.
lock: .venv/.dev
	$(BIN)/uv pip compile pyproject.toml --extra build --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra build --extra dev --extra load --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "metaport needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=…"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python requirements.lock pyproject.toml setup.py $(wildcard */*.pyx)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/bin/python requirements-dev.lock pyproject.toml setup.py $(wildcard */*.pyx)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ .venv/.run

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache */_*.c */*.so
