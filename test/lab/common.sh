# Shared by the scripts of the lab: source it. Everything listens on loopback only
# and needs no init system.
#   LAB_DIR    data, logs and pids of running servers; short, and open to other users
#   LAB_CACHE  what was fetched, kept between runs
#   LAB_SHIFT  is added to every port, for a second lab beside the first
#   LAB_JVM    more options for every server's JVM
umask 022
LAB_DIR=${LAB_DIR:-${TMPDIR:-/tmp}/fresnel-lab}
LAB_CACHE=${LAB_CACHE:-${TMPDIR:-/tmp}/fresnel-lab-cache}
LAB_SHIFT=${LAB_SHIFT:-0}
LAB_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$LAB_DIR"/{run,log} "$LAB_CACHE"

# usage: prints the comment at the head of the script.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# need COMMAND=PACKAGE...: installs what is missing, or says what to install.
need() {
  local p missing=()
  for p in "$@"; do command -v "${p%=*}" >/dev/null || missing+=("${p#*=}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the lab needs ${missing[*]}; as root: apt-get update && apt-get install ${missing[*]}" >&2
    return 1
  fi
  local apt=(apt-get -q -o DPkg::Lock::Timeout=600)
  { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } \
    >>"$LAB_DIR/log/apt.log" 2>&1 || { echo "apt-get could not install ${missing[*]}:" >&2; tail -5 "$LAB_DIR/log/apt.log" >&2; return 1; }
}

# java_home LEAST MOST: the newest JDK between; LAB_JAVA_HOME names one.
java_home() {
  local d v best= newest=0
  for d in ${LAB_JAVA_HOME:-} ${JAVA_HOME:-} /usr/lib/jvm/*; do
    [ -x "$d/bin/java" ] || continue
    v=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$d/release" 2>/dev/null)
    [ "${v:-0}" -lt "$1" ] || [ "$v" -gt "$2" ] || [ "$v" -le "$newest" ] || { best=$d newest=$v; }
  done
  [ -n "$best" ] || { echo "no JDK of version $1 to $2 in /usr/lib/jvm; LAB_JAVA_HOME may name one" >&2; return 1; }
  echo "$best"
}
# need_java LEAST MOST: the JDK; the oldest suitable one that Debian has is installed.
need_java() {
  java_home "$1" "$2" 2>/dev/null && return 0
  local v
  for v in 17 21 25; do
    [ "$v" -ge "$1" ] && [ "$v" -le "$2" ] || continue
    need "no-such-java=openjdk-$v-jre-headless" 2>/dev/null && java_home "$1" "$2" 2>/dev/null && return 0
  done
  java_home "$1" "$2"
}

# cached NAME FUNCTION: the folder NAME of the cache, made by FUNCTION FOLDER if it is
# not there; one process makes it, and tries twice.
cached() {
  local to=$LAB_CACHE/$1
  (
    flock 9
    [ ! -e "$to" ] || exit 0
    for _ in 1 2; do
      echo "fetching $1" >&2
      rm -rf "$to.part"; mkdir -p "$to.part"
      if "$2" "$to.part" >>"$LAB_DIR/log/fetch-$1.log" 2>&1; then
        chmod -R a+rX "$to.part"; mv "$to.part" "$to"; exit 0
      fi
    done
    echo "cannot fetch $1; end of $LAB_DIR/log/fetch-$1.log:" >&2
    tail -5 "$LAB_DIR/log/fetch-$1.log" >&2; exit 1
  ) 9>"$LAB_CACHE/$1.lock" || return 1
}

pid_of() { cat "$LAB_DIR/run/$1.pid" 2>/dev/null; }
running() { local p; p=$(pid_of "$1") && [ -n "$p" ] && [ "$(sed 's/.*) //;s/ .*//' "/proc/$p/stat" 2>/dev/null || echo Z)" != Z ]; }
# known PREFIX: the numbers of the servers with a pid file.
known() { local f; for f in "$LAB_DIR/run/$1"[0-9]*.pid; do [ ! -e "$f" ] || basename "$f" .pid | sed "s/^$1//"; done; }

# start_bg NAME COMMAND...: output goes to log/NAME.log
start_bg() {
  local name=$1; shift
  ! running "$name" || return 0
  setsid "$@" >>"$LAB_DIR/log/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$LAB_DIR/run/$name.pid"
}
# halt SIGNAL NAME...: all together; kill -9 after 30 seconds.
halt() {
  local signal=$1 name pid _; shift
  for name in "$@"; do
    ! running "$name" || { pid=$(pid_of "$name"); kill "-$signal" "$pid"; kill -CONT "$pid"; } 2>/dev/null || true
  done
  for name in "$@"; do
    for _ in $(seq 300); do running "$name" || break; sleep 0.1; done
    ! running "$name" || kill -9 "$(pid_of "$name")" 2>/dev/null || true
    rm -f "$LAB_DIR/run/$name.pid"
  done
}
# must_run NAME: ends the script if it does not.
must_run() { running "$1" || { echo "$1 does not run" >&2; exit 1; }; }
# await NAME SECONDS COMMAND...: until the command succeeds, or the server has ended.
await() {
  local name=$1 _ times=$(($2 * 5)); shift 2
  for _ in $(seq "$times"); do
    ! "$@" 2>/dev/null || return 0
    running "$name" || break
    sleep 0.2
  done
  echo "$name does not get ready; end of its log:" >&2; tail -15 "$LAB_DIR/log/$name.log" >&2; return 1
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# free_port PORT: ends the script in words if somebody else listens.
free_port() { ! listens "$1" || { echo "port $1 is taken by something that is not of $LAB_DIR; LAB_SHIFT moves all ports" >&2; exit 1; }; }

# python_with NAME PACKAGE...: a virtual environment in the cache, python-NAME, with
# these packages of PyPI.
python_with() {
  local name=$1; shift
  local packages=("$@")
  need python3=python3
  python3 -c 'import venv, ensurepip' 2>/dev/null || need no-such-venv=python3-venv || true
  make_python() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${packages[@]}"; }
  cached "python-$name" make_python
}
