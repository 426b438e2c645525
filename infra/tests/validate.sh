#!/usr/bin/env bash
# Checks the template of the default settings and of every profile in crates/stack/profiles: cfn-lint, AWS's
# cloudformation-validate, and checkov where it is installed.
# Usage: validate.sh BLUEGREEN VENV CHECKOV_VENV FOLDER
set -euo pipefail
bluegreen=$1 venv=$2 checkov=$3 folder=$4
here=$(dirname "$0")

rm -rf "$folder"
mkdir -p "$folder"
empty=$folder/default.toml
: > "$empty"
for profile in "$empty" "$here"/../../crates/stack/profiles/*.toml; do
  "$bluegreen" --config "$profile" synth > "$folder/$(basename "$profile" .toml).json"
done

"$venv/bin/cfn-lint" --include-checks I --regions ALL_REGIONS --template "$folder"/*.json
"$venv/bin/python" "$here/validate.py" "$folder"/*.json
# Offline: nothing is downloaded, and nothing is sent anywhere.
LOG_LEVEL=ERROR "$checkov/bin/checkov" --directory "$folder" --framework cloudformation --compact --quiet --skip-download
echo "checked $(ls "$folder"/*.json | wc -l) templates"
