#!/bin/bash
# image.sh OUT.tar NAME ROOT ENTRYPOINT…: an OCI image archive of one layer, the same bytes for the same input.
set -euo pipefail

out=${1:?usage: image.sh OUT.tar NAME ROOT ENTRYPOINT…}
name=$2
root=$3
shift 3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/layout/blobs/sha256
mkdir -p "$blobs"

# put FILE: moves it among the blobs, prints "sha256:DIGEST SIZE"; the line comes last, since its reader goes on from there
put() {
  local digest size
  digest=$(sha256sum < "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
  printf 'sha256:%s %s\n' "$digest" "$size"
}

words() { # the arguments as a JSON list; none of them may need escaping
  local list=
  for word in "$@"; do list="$list${list:+,}\"$word\""; done
  echo "[$list]"
}

tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer" .
read -r layer_digest layer_size < <(put "$work/layer")
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac

printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Entrypoint":%s,"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["%s"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"ironwright images/oci"}]}' \
  "$machine" "$(words "$@")" "$layer_digest" > "$work/config"
read -r config_digest config_size < <(put "$work/config")

printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%s}]}' \
  "$config_digest" "$config_size" "$layer_digest" "$layer_size" > "$work/manifest"
read -r manifest_digest manifest_size < <(put "$work/manifest")

printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' \
  "$manifest_digest" "$manifest_size" "$name" "${name##*:}" > "$work/layout/index.json"
echo '{"imageLayoutVersion":"1.0.0"}' > "$work/layout/oci-layout"
tar -C "$work/layout" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$out" .
