#!/usr/bin/env bash
# A ConfigMap as a volume. Kubernetes shows it as links through `..data`, and swaps that one link when the ConfigMap changes.
# Mount the directory, not the file with subPath: a single mounted file stays at its old content for ever.
source "$(dirname "$0")/common.sh"

mount=$WORK/mount
generation=0

# apply KEY ADDRESS: what the kubelet does some time after `kubectl apply`.
apply() {
    local old
    old=$(readlink "$mount/..data" || true)
    local new=..generation_$((++generation))
    mkdir -p "$mount/$new"
    cat >"$mount/$new/topology.yaml" <<END
version: 1
listeners:
- name: web
  address: 127.0.0.1:10000
  routes:
  - route: app
clusters:
- name: app
  $1: ["$2:8080"]
END
    ln -s "$new" "$mount/..data_tmp"
    mv -T "$mount/..data_tmp" "$mount/..data"
    if [[ $old ]]; then rm -r "${mount:?}/$old"; fi
}

apply endpoints 10.0.0.1
ln -s ..data/topology.yaml "$mount/topology.yaml"
serve "$mount"
taken 1 10.0.0.1

tell "the ConfigMap changes"
apply endpoints 10.0.0.2
taken 2 10.0.0.2

tell "someone applies a ConfigMap with a slip"
apply endpionts 10.0.0.3
refused 2 10.0.0.2

tell "and rolls forward"
apply endpoints 10.0.0.4
taken 3 10.0.0.4
