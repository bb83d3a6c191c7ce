#!/usr/bin/env bash
# A Python with oslo.messaging, which reads notifications in tests: no server.
#   oslo.sh fetch | env
set -eu
. "$(dirname "$0")/common.sh"
case "${1:-}" in
fetch | start) python_with oslo oslo.messaging==18.3.1 confluent-kafka==2.16.1 ;;
env) [ ! -e "$LAB_CACHE/python-oslo" ] || echo "OSLO_PYTHON=$LAB_CACHE/python-oslo/bin/python" ;;
stop | wipe | status) ;;
*) usage ;;
esac
