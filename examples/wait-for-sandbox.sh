#!/bin/sh
# Waits until a Sandbox is ready, or has ended with success, and gives up as soon as it cannot get there by itself.
#
#   wait-for-sandbox.sh NAME Ready|Finished SECONDS [options of kubectl, such as -n team-a]
#
# Exit code 0: it is there. 1: it is stuck, paused, or has ended in another way. 2: the time is over. 3: kubectl failed,
# or this was called in a wrong way. The last line says why. `kubectl wait` alone does not know that something has failed.
set -u
usage() {
  echo "usage: $0 NAME Ready|Finished SECONDS [options of kubectl]" >&2
  exit 3
}
[ $# -ge 3 ] || usage
name=$1 wanted=$2 seconds=$3
case $wanted:$seconds in
  Ready:*[!0-9]* | Finished:*[!0-9]* | *:) usage ;;
  Ready:* | Finished:*) ;;
  *) usage ;;
esac
shift 3

# Conditions of the spec as it is now; those of an earlier one say nothing.
conditions='{{$now := .metadata.generation}}{{range .status.conditions}}{{if eq .observedGeneration $now}}'
conditions=$conditions'{{.type}}={{.status}}{{if eq .type "Finished"}},{{.reason}}{{end}} {{end}}{{end}}'
words='{{range .status.conditions}}{{if ne .type "VolumesAllowed"}}{{.type}} is {{.status}}, {{.reason}}: {{.message}}{{"\n"}}{{end}}{{end}}'

# A message can have what the container wrote at its end: only characters that a terminal shows are let through.
leave() {
  printf '%s: %s\n' "$name" "$(kubectl get sbx "$name" "$@" -o go-template="$words" | head -n 1 | LC_ALL=C tr -cd '\n\040-\176')"
  exit "$code"
}

end=$(($(date +%s) + seconds))
while :; do
  found=" $(kubectl get sbx "$name" "$@" -o go-template="$conditions")" || exit 3
  case $wanted$found in
    "Ready"*" Ready=True "* | *" Finished=True,Completed "*) code=0 && leave "$@" ;;
    *" Stalled=True "* | *" Paused=True "* | *" Finished=True,"*) code=1 && leave "$@" ;;
  esac
  [ "$(date +%s)" -lt "$end" ] || { code=2 && leave "$@"; }
  sleep 1
done
