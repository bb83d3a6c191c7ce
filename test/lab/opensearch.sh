#!/usr/bin/env bash
# OpenSearch on loopback, without log-in: node I listens on 29200 + I, for nodes on 29300 + I.
#   opensearch.sh start [N]    one cluster of N nodes (1); data of an earlier start are kept
#   opensearch.sh stop | wipe | status | url | fetch
#   opensearch.sh kill9 I | pause I | resume I | restart I
# OS_VERSION is 3.8.0 (needs a JDK of 21 or newer) or 2.19.6; OS_HEAP a node's heap
# (512m); OS_CONF more lines for opensearch.yml, read by start and restart.
set -eu
. "$(dirname "$0")/common.sh"
KIND=opensearch
V=${OS_VERSION:-$(cat "$LAB_DIR/run/$KIND.version" 2>/dev/null || echo 3.8.0)}
PORT=$((29200 + LAB_SHIFT)) HEAP=${OS_HEAP:-512m} CONF=${OS_CONF:-} RUN_AS=9201
case $V in 2.*) JAVA="17 21" ;; *) JAVA="21 25" ;; esac

# The server's jar and its modules are published one by one; each module gets a folder
# and a descriptor, as in the distribution.
fetch() {
  local jar name class extends to=$1 profile=(-Pv3)
  case $V in 2.*) profile=() ;; esac
  mkdir -p "$to"/{bin,config,lib,modules,plugins,extensions}
  (cd "$to" && mvn -q -B -ntp -f "$LAB_SRC/opensearch/pom.xml" -Dos="$V" "${profile[@]}" -Dmaven.repo.local="$to.m2" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$to/lib") || { rm -rf "$to.m2"; return 1; }
  rm -rf "$to.m2"
  for jar in "$to"/lib/{aggs-matrix-stats,analysis-common,ingest-common,lang-mustache,lang-painless,mapper-extras,parent-join,percolator,rank-eval,reindex,transport-netty4}*-"$V".jar; do
    name=$(basename "$jar" "-$V.jar"); name=${name%-client}; mkdir -p "$to/modules/$name"
    class=$(unzip -Z1 "$jar" | grep -E '^org/opensearch/[a-z0-9/]*/[A-Za-z0-9]+Plugin\.class$' | head -1 | tr / .)
    extends=; case $name in analysis-common | ingest-common) extends=lang-painless ;; esac
    mv "$jar" "$to/modules/$name/"
    printf '%s\n' "name=$name" "description=$name" "version=$V" "opensearch.version=$V" java.version=11 "classname=${class%.class}" \
      "extended.plugins=$extends" has.native.controller=false >"$to/modules/$name/plugin-descriptor.properties"
    [ ! -e "$LAB_SRC/opensearch/$name.policy" ] || case $V in 2.*) cp "$LAB_SRC/opensearch/$name.policy" "$to/modules/$name/plugin-security.policy" ;; esac
  done
  mv "$to"/lib/{opensearch-scripting-painless-spi,antlr4-runtime,asm}-* "$to/modules/lang-painless/" || return 1
  mv "$to"/lib/netty-* "$to/modules/transport-netty4/" || return 1
  mv "$to"/lib/opensearch-netty4-* "$to/modules/transport-netty4/" 2>/dev/null || true
}
provision() {
  need mvn=maven unzip=unzip curl=curl setpriv=util-linux
  need_java $JAVA >/dev/null
  cached "$KIND-$V" fetch
}
settings() { # I FRESH
  [ "$1$2" != 01 ] || echo "cluster.initial_cluster_manager_nodes: [${KIND}0]"
}
prepare() { # FOLDER
  cp "$LAB_SRC/opensearch/log4j2.properties" "$1/config/"
}
launch() { # I
  local d=$NODES/$1 name=$KIND$1 java options=(-XX:+UseG1GC -XX:+ExitOnOutOfMemoryError ${LAB_JVM:-})
  java=$(java_home $JAVA)
  case $V in
  2.*) options+=(-Djava.security.manager=allow) ;;
  *) options+=(--add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED) ;;
  esac
  cd "$d"
  start_bg "$name" bash -c "$(declare -f as_user); RUN_AS=$RUN_AS; as_user \"\$@\"" _ \
    env -i PATH="$PATH" HOME="$d" LANG=C.UTF-8 "$java/bin/java" "-Xms$HEAP" "-Xmx$HEAP" "${options[@]}" -Djava.io.tmpdir="$d/tmp" \
    -Xlog:disable -Xlog:all=warning:stderr -Dlog4j2.disable.jmx=true -Dlog4j.shutdownHookEnabled=false -Djava.awt.headless=true \
    -Dfile.encoding=UTF-8 -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dopensearch.networkaddress.cache.ttl=60 \
    -Dopensearch.path.home="$DIST" -Dopensearch.path.conf="$d/config" -Dopensearch.distribution.type=tar -Dopensearch.bundled_jdk=false \
    -cp "$DIST/lib/*" org.opensearch.bootstrap.OpenSearch
  await "$name" 120 answers $((PORT + $1))
}
. "$LAB_SRC/cluster.sh"
