# Runs one step's script on the machine: never for an operation that was superseded, never beside another step.
# $1: the operation's fence. $2: the script's length in bytes. Standard input: the script, and then nothing until nobody
# waits for the step any more. Exit 113: a higher fence was here, nothing was done.
set -eu
umask 077
dir=/run/ironwright
[ -d "$dir" ] || mkdir -p "$dir"
seen=0
if [ -e "$dir/fence" ]; then read -r seen < "$dir/fence"; fi
if [ "$seen" -gt "$1" ]; then
  echo "fence $seen" >&2
  exit 113
fi
if [ "$seen" -lt "$1" ]; then
  echo "$1" > "$dir/fence.$$"
  mv "$dir/fence.$$" "$dir/fence"
fi

# the step of a daemon that was killed may still run
if read -r before 2> /dev/null < "$dir/step"; then
  kill -KILL "-$before" 2> /dev/null || true
  tries=100
  while kill -0 "-$before" 2> /dev/null; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "process group $before of an earlier step does not end" >&2; exit 1; }
    sleep 0.1
  done
fi

head -c "$2" > "$dir/script.$$"
setsid sh -eu "$dir/script.$$" < /dev/null &
step=$!
echo "$step" > "$dir/step"
# the daemon went, or gave up waiting
exec 3<&0
{
  while read -r _; do :; done <&3
  kill -KILL "-$step"
} > /dev/null 2>&1 &
watcher=$!
wait "$step" && status=0 || status=$?
kill "$watcher" 2> /dev/null || true
rm -f "$dir/script.$$" "$dir/step"
exit "$status"
