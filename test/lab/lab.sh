#!/usr/bin/env bash
# The real servers that tests with the build tag `real` need: one Elasticsearch, one
# OpenSearch, and a Kafka of three brokers.
#   lab.sh fetch               everything that is missing on this machine, tried twice
#   lab.sh up | down | status
#   lab.sh env                 what a test finds the running servers by, as lines to eval
#   lab.sh run TIME COMMAND    starts an empty lab, runs the command for at most that
#                              time, and stops what it has started, however it ends
# LAB_PARTS names the servers: "elasticsearch opensearch kafka", besides which there are
# rabbitmq, smtp, oslo (a Python with oslo.messaging), keystone, zaqar and hub. LAB_NAME
# is what run calls the command.
set -eu
. "$(dirname "$0")/common.sh"
PARTS=${LAB_PARTS:-elasticsearch opensearch kafka}

# examples: what the example of a plugin in Python needs; without it its test is skipped,
# but not in CI.
examples() {
  /usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null || need no-such-command=python3-grpcio || [ "${CI:-}" != true ]
}
each() { local p; for p in $PARTS; do "$LAB_SRC/$p.sh" "$@"; done; }
together() { # COMMAND...: all parts at once
  local p job jobs=()
  for p in $PARTS; do "$LAB_SRC/$p.sh" "$@" & jobs+=($!); done
  for job in "${jobs[@]}"; do wait "$job"; done
}
up() {
  local p job jobs=()
  for p in $PARTS; do
    case $p in kafka) "$LAB_SRC/kafka.sh" start "${LAB_BROKERS:-3}" --secure ;; *) "$LAB_SRC/$p.sh" start ;; esac &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
}
environment() {
  local p url line
  for p in $PARTS; do
    case $p in
    kafka | rabbitmq | smtp | oslo | keystone | zaqar | hub) "$LAB_SRC/$p.sh" env | while read -r line; do echo "export FRESNEL_TEST_$line"; done ;;
    *) url=$("$LAB_SRC/$p.sh" url); [ -z "$url" ] || echo "export FRESNEL_TEST_$(tr a-z A-Z <<<"$p")=$url" ;;
    esac
  done
}
clean() { # what runs here, and in the labs that tests have made in it
  local lab
  for lab in "$LAB_DIR"/lab-*/; do
    [ ! -e "$lab" ] || { LAB_DIR=$lab together wipe; rm -rf "$lab"; }
  done
  together wipe
}
run() { # TIME COMMAND...
  local budget=$1 begin rc=0 front=; shift
  examples
  each fetch
  begin=$(date +%s)
  trap 'clean >/dev/null 2>&1' EXIT
  trap 'exit 130' INT TERM
  clean
  up
  echo "lab started in $(($(date +%s) - begin)) s; ${LAB_NAME:-the command} has $budget"
  eval "$(environment)"
  begin=$(date +%s)
  [ ! -t 0 ] || front=--foreground # for Ctrl-C; else what the command has started ends with it
  LAB_DIR=$LAB_DIR LAB_CACHE=$LAB_CACHE timeout $front -k 30 "$budget" "$@" || rc=$?
  [ $rc != 124 ] || echo "stopped: the budget of $budget is used up" >&2
  echo "${LAB_NAME:-the command} took $(($(date +%s) - begin)) s of $budget"
  return $rc
}

case "${1:-}" in
fetch) # the units in configs/deploy are tested too
  [ "${CI:-}" != true ] || need systemd-analyze=systemd
  examples
  each fetch ;;
up) up; environment ;;
down) clean ;;
status) each status ;;
env) environment ;;
run) [ $# -ge 3 ] || usage; shift; run "$@" ;;
*) usage ;;
esac
