# Fresnel. `make` prints the targets. Only Go is needed, but for `proto` protoc too, and
# for tests on real servers what test/lab/README.md names.
SHELL := /bin/bash
GO    ?= go
LINT  := $(GO) tool -modfile=.tools/lint.mod golangci-lint
SUM   := $(GO) tool -modfile=.tools/test.mod gotestsum --format testname --hide-summary=output --
BIN   := bin/fresnel
# How long make soak fuzzes each decoder.
FUZZTIME ?= 2m
# The packages with a test that mentions something.
having = $(sort $(dir $(shell grep -rl '$(1)' --include='*_test.go' .)))

.DEFAULT_GOAL := help

# The packages with tests on real servers, benchmarks apart; and how long they may take
# on 2 cores once everything is fetched. driving drives processes, of which the race
# detector would not know.
real = $(filter-out ./test/bench/,$(sort $(dir $(shell grep -rlE '^//go:build .*\breal\b' --include='*_test.go' .))))
driving := ./test/real/
engines = $(filter-out $(driving) $(publishers),$(real))
ENGINES_BUDGET ?= 15m
# For servers that live for minutes: quicker to start, slower in the long run.
SOON := -XX:TieredStopAtLevel=1
PUBLISHERS_BUDGET ?= 15m
publishers := ./test/publishers/ ./plugins/example/
# What publishers publish to.
publishing := kafka rabbitmq smtp oslo keystone zaqar hub
LAB := test/lab/lab.sh

.PHONY: help run demo build test test-real test-real-engines test-real-publishers lab-up lab-down lint bench bench-real bench-publishers soak proto golden clean

help: ## print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## compile the binary to bin/fresnel
	@mkdir -p bin
	$(GO) build -trimpath -o $(BIN) ./cmd/fresnel

run: build ## serve the demo configuration on embedded defaults
	./$(BIN) serve --config configs/demo.yaml

demo: build ## in a second terminal: play recordings, receive signed deliveries, search
	./$(BIN) demo

test: ## all tests with the race detector, under 5 minutes; needs nothing but Go
	$(GO) test -race -timeout 10m ./test ./...
	$(GO) test -run EatsMemory ./publishers/host # the race detector maps more than the limit

test-real: test-real-engines test-real-publishers ## all tests on real servers; each part has a budget of its own

test-real-engines: ## Elasticsearch, OpenSearch and Kafka: fetched, started, tested for at most 15 minutes, stopped
	@$(LAB) fetch
	@$(GO) build -tags faults -o bin/fresnel-faults ./cmd/fresnel
	@$(GO) test -tags real -run '^$$' $(driving) >/dev/null # compiles; the time counts from then on
	@$(GO) test -race -tags real -run '^$$' $(engines) >/dev/null
	@FRESNEL_BINARY="$(CURDIR)/bin/fresnel-faults" LAB_NAME=$@ LAB_JVM=$(SOON) $(LAB) run $(ENGINES_BUDGET) bash -c ' \
		$(SUM) -short -tags real -count 1 -timeout 0 $(driving) & \
		$(SUM) -race -short -tags real -count 1 -p 1 -timeout 0 $(engines); rc=$$?; wait $$! && exit $$rc'

test-real-publishers: ## every publisher against what it publishes to: fetched, started, tested for at most 15 minutes, stopped
	@LAB_PARTS="$(publishing)" $(LAB) fetch
	@$(GO) test -race -tags real -run '^$$' $(publishers) >/dev/null
	@LAB_PARTS="$(publishing)" LAB_BROKERS=1 LAB_NAME=$@ \
		$(LAB) run $(PUBLISHERS_BUDGET) $(SUM) -race -tags real -count 1 -timeout 0 $(publishers)

lab-up: ## start the servers of the real tests, and leave them running
	@$(LAB) fetch
	@$(LAB) up

lab-down: ## stop them and delete their data
	@$(LAB) down

lint: ## golangci-lint, built from a module file of its own
	$(LINT) run ./...

bench: build ## every figure beside a reference taken in the same run
	@FRESNEL_BINARY="$(CURDIR)/$(BIN)" $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 20m ./test/bench
	@$(GO) test -run '^$$' -bench Plugin -benchtime 1x -timeout 10m ./publishers/host

bench-real: build ## the same for real engines: one Elasticsearch, one broker of Kafka
	@LAB_PARTS="elasticsearch kafka" LAB_BROKERS=1 FRESNEL_BINARY="$(CURDIR)/$(BIN)" \
		$(LAB) run 90m $(GO) test -tags real -run '^$$' -bench Real -benchtime 1x -timeout 0 ./test/bench

bench-publishers: build ## the same for publishers: each beside a bare client of the same service
	@LAB_PARTS="$(publishing)" LAB_BROKERS=1 FRESNEL_BINARY="$(CURDIR)/$(BIN)" \
		$(LAB) run 30m $(GO) test -tags real -run '^$$' -bench Publishers -benchtime 1x -timeout 0 ./test/bench

soak: ## the long forms of tests that `make test` has in short; takes an hour or more
	$(GO) test -race -timeout 60m ./listener/kafka/embedded -long
	$(GO) test -race -timeout 120m -tags soak ./test
	$(GO) test -race -timeout 120m -count 10 -run TestNothingIsLostOrInventedAtAnyCrash ./test
	$(GO) test -race -timeout 120m $(call having,pgregory.net/rapid) -rapid.checks 2000
	ES_VERSION=9.4.3 OS_VERSION=2.19.6 $(LAB) run 60m $(GO) test -race -tags real -count 1 -timeout 0 $(engines)
	$(LAB) run 8h $(GO) test -tags real,soak -count 1 -timeout 0 ./test/real
	@grep -roE '^func Fuzz\w+' --include='*_test.go' . | while IFS=: read -r file name; do \
		echo "fuzzing $${name#func } of $$(dirname $$file)"; \
		$(GO) test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) $$(dirname $$file) || exit 1; \
	done

proto: ## regenerate the plugin contract, in Go and for the example in Python; needs protoc 3.21
	@mkdir -p bin
	$(GO) build -modfile=.tools/proto.mod -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	PATH="$(CURDIR)/bin:$$PATH" protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative \
		plugins/publisherv1/publisher.proto
	protoc -I plugins/publisherv1 --python_out=plugins/example/python publisher.proto

golden: ## rewrite golden files and the README's example from what the code does now
	$(GO) test ./indexer/catalog/... -run Golden -update
	$(GO) test ./test -run TestSubscriptionsGet -update

clean: ## remove what was built and the default data folder
	rm -rf bin fresnel-data
