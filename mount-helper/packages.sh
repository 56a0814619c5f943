# Debian packages, installed where they are missing. Sourced by mount-helper/up and tests/run.

build_packages=(build-essential cmake ninja-build pkg-config protobuf-compiler
  libfuse3-dev libtorrent-rasterbar-dev libsqlite3-dev libssl-dev libprotobuf-dev
  libspdlog-dev libfmt-dev libcli11-dev nlohmann-json3-dev libboost-dev fuse3)
test_packages=(libgtest-dev librapidcheck-dev libbenchmark-dev iproute2 util-linux procps
  attr acl rsync git sqlite3 xfsprogs btrfs-progs clang-format ca-certificates)

# as_root COMMAND...: through sudo where we are not root.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME...: those that are not there yet.
install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  if [ "${#missing[@]}" -eq 0 ]; then
    echo "    all there"
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "these packages are missing, and this is no Debian system to install them on: ${missing[*]}" >&2
    return 1
  fi
  echo "    installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}
