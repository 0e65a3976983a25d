#!/usr/bin/env bash
# Edited by hand: a file on a machine, changed by whatever is at hand. Each way of saving is noticed, and a slip is harmless.
source "$(dirname "$0")/common.sh"

file=$WORK/topology.yaml
cat >"$file" <<'END'
version: 1
listeners:
- name: web
  address: 127.0.0.1:10000
  routes:
  - route: app
clusters:
- name: app
  endpoints: [10.0.0.1:8080]
END
serve "$file"
taken 1 10.0.0.1

tell "sed -i moves a new file over the old one"
sed -i 's/10\.0\.0\.1/10.0.0.2/' "$file"
taken 2 10.0.0.2

tell "nano writes into the file"
text=$(sed 's/10\.0\.0\.2/10.0.0.3/' "$file")
printf '%s\n' "$text" >"$file"
taken 3 10.0.0.3

tell "vim keeps a backup and writes a new file"
mv "$file" "$file~"
sed 's/10\.0\.0\.3/10.0.0.4/' "$file~" >"$file"
rm "$file~"
taken 4 10.0.0.4

tell "a slip: endpoints becomes endpionts"
sed -i 's/endpoints/endpionts/' "$file"
refused 4 10.0.0.4

tell "the slip is mended, on another host"
sed -i -e 's/endpionts/endpoints/' -e 's/10\.0\.0\.4/10.0.0.5/' "$file"
taken 5 10.0.0.5
