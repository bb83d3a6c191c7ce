# What elasticsearch.sh and opensearch.sh have in common: source it after common.sh.
# The script has set KIND (also the nodes' name), V, PORT, CONF (more lines for the
# settings), HEAP, and RUN_AS, and defines fetch FOLDER, settings I, and launch I.
NODES=$LAB_DIR/$KIND-$V
DIST=$LAB_CACHE/$KIND-$V

# as_user COMMAND...: the servers refuse to run as root. Elsewhere they have machines of
# their own: here they go before what tests them, as far as root allows. Refreshes have
# one thread on two cores, and would not be answered in time. In a session of its own.
as_user() {
  [ "$(id -u)" = 0 ] || exec "$@"
  renice -n -10 $$ >/dev/null 2>&1 || true
  { echo -10 >/proc/self/autogroup; } 2>/dev/null || true
  exec setpriv --reuid="$RUN_AS" --regid="$RUN_AS" --clear-groups "$@"
}

# unpacked ARTIFACT FOLDER PATTERN: part of a zip from Maven Central, the zip not kept.
unpacked() {
  mvn -q -B -ntp -Dmaven.repo.local="$2.m2" dependency:get -Dartifact="$1:zip" -Dtransitive=false &&
    unzip -q "$(find "$2.m2" -path "*/${1##*:}/*.zip" | head -1)" "$3" -d "$2"
  local rc=$?; rm -rf "$2.m2"; return $rc
}

# configure I SEEDS: writes the node's folder, its data left alone.
configure() {
  local d=$NODES/$1 fresh=1
  [ ! -e "$d/data/nodes" ] && [ ! -e "$d/data/_state" ] || fresh=
  mkdir -p "$d"/{data,logs,tmp}; rm -rf "$d/config"; mkdir "$d/config"
  {
    printf '%s\n' "cluster.name: lab" "node.name: $KIND$1" "path.data: $d/data" "path.logs: $d/logs" \
      "network.host: 127.0.0.1" "http.port: $((PORT + $1))" "transport.port: $((PORT + 100 + $1))" \
      "discovery.seed_hosts: [$2]" "cluster.routing.allocation.disk.threshold_enabled: false"
    settings "$1" "$fresh"
    printf '%s\n' "$CONF"
  } >"$d/config/$KIND.yml"
  echo "$2" >"$d/seeds"
  prepare "$d"
  [ "$(id -u)" != 0 ] || chown -R "$RUN_AS:$RUN_AS" "$d"
}
healthy() { curl -sf -o /dev/null --max-time 65 "http://127.0.0.1:$1/_cluster/health?wait_for_nodes=ge($2)&wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=60s"; }
answers() { curl -sf -o /dev/null --max-time 3 "http://127.0.0.1:$1/"; }

up() { # N
  local i seeds='' job jobs=()
  provision
  echo "$V" >"$LAB_DIR/run/$KIND.version"
  for i in $(seq 0 $(($1 - 1))); do seeds+="${seeds:+,}\"127.0.0.1:$((PORT + 100 + i))\""; done
  for i in $(seq 0 $(($1 - 1))); do
    ! running "$KIND$i" || continue
    free_port $((PORT + i))
    configure "$i" "$seeds"
    launch "$i" & jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
  healthy "$PORT" "$1" || { echo "no healthy cluster of $1" >&2; exit 1; }
  echo "$KIND $V, $1 node(s), http://127.0.0.1:$PORT"
}
restart() { # I
  [ -e "$NODES/$1/seeds" ] || { echo "$KIND$1 was never started" >&2; exit 1; }
  halt TERM "$KIND$1"
  configure "$1" "$(cat "$NODES/$1/seeds")"
  launch "$1"; healthy $((PORT + $1)) 1
}
names() { known "$KIND" | sed "s/^/$KIND/"; }

case "${1:-}" in
fetch) provision ;;
start) up "${2:-1}" ;;
stop) halt TERM $(names) ;;
status) for n in $(names); do if running "$n"; then echo "$n runs as $(pid_of "$n")"; else echo "$n has ended"; fi; done ;;
url) [ -z "$(names)" ] || echo "http://127.0.0.1:$PORT" ;;
kill9) must_run "$KIND${2:-}"; halt KILL "$KIND$2" ;;
pause) must_run "$KIND${2:-}"; kill -STOP "$(pid_of "$KIND$2")" ;;
resume) must_run "$KIND${2:-}"; kill -CONT "$(pid_of "$KIND$2")" ;;
restart) restart "${2:?number of the node}" ;;
wipe) halt TERM $(names); rm -rf "$LAB_DIR/$KIND"-* ;;
*) usage ;;
esac
