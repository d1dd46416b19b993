# shellcheck shell=bash
# Shared by the image recipes: what this host's own apt sources say about Debian, in a form mmdebstrap takes.

SUITE=bookworm

say() { printf '%s\n' "$*" >&2; }

# debian_sources FILE: writes the host's Debian entries (one-line and deb822 style alike) as one-line entries.
# Entries of other vendors are left out: an image is made of Debian alone.
debian_sources() {
  local file entries=()
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] && entries+=("$file")
  done
  awk -v suite="$SUITE" '
    function wanted(s) { return s == suite || s == suite "-updates" || s == suite "-security" || s == suite "/updates" }
    function flush_stanza(   t, u, s, nt, nu, ns, i, j) {
      if (stanza["types"] != "" && stanza["enabled"] != "no" && (" " stanza["components"] " ") ~ / main /) {
        nu = split(stanza["uris"], u, " "); ns = split(stanza["suites"], s, " ")
        if ((" " stanza["types"] " ") ~ / deb /)
          for (i = 1; i <= nu; i++) for (j = 1; j <= ns; j++) if (wanted(s[j]))
            print "deb" (stanza["signed-by"] ~ /^\// ? " [signed-by=" stanza["signed-by"] "]" : "") " " u[i] " " s[j] " main"
      }
      split("", stanza); field = ""
    }
    FNR == 1 { flush_stanza() }
    /^[ \t]*#/ { next }
    /^deb[ \t]/ {
      line = $0; options = ""
      if (match(line, /\[[^]]*\]/)) { options = substr(line, RSTART, RLENGTH) " "; sub(/\[[^]]*\]/, "", line) }
      n = split(line, part, /[ \t]+/)
      if (wanted(part[3]) && line ~ /[ \t]main([ \t]|$)/) print "deb " options part[2] " " part[3] " main"
      next
    }
    /^[ \t]*$/ { flush_stanza(); next }
    /^[A-Za-z-]+:/ { field = tolower($0); sub(/:.*/, "", field); value = $0; sub(/^[^:]*:[ \t]*/, "", value); stanza[field] = value; next }
    /^[ \t]/ { if (field != "") stanza[field] = stanza[field] " " $0 }
    END { flush_stanza() }
  ' "${entries[@]}" | sort -u > "$1"
  if ! grep -q " $SUITE main" "$1"; then
    say "no Debian $SUITE entry with component main in /etc/apt/sources.list or /etc/apt/sources.list.d; add one, e.g. 'deb MIRROR $SUITE main'"
    return 1
  fi
}

# debian_root ROOT VARIANT PACKAGES [mmdebstrap options…]: a Debian root directory.
debian_root() {
  local root=$1 variant=$2 packages=$3 work
  shift 3
  work=$(mktemp -d)
  debian_sources "$work/debian.list"
  # the host's proxy settings hold for the image too; nothing else of its apt configuration does
  apt-config dump | grep -E '^Acquire::(https?|ftp)::Proxy' > "$work/proxy.conf" || true
  mmdebstrap --quiet --mode=root --variant="$variant" --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' --aptopt="$work/proxy.conf" "$@" \
    "$SUITE" "$root" "$work/debian.list" >&2
  rm -rf "$work"
}
