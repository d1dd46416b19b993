# Runs one step's script on the machine: never for an operation that was superseded, never beside another step.
# $1: the operation's fence. Standard input: the script. Exit 113: a higher fence was here, nothing was done.
set -eu
umask 077
dir=/run/ironwright
mkdir -p "$dir"
seen=$(cat "$dir/fence" 2> /dev/null || echo 0)
if [ "$seen" -gt "$1" ]; then
  echo "fence $seen" >&2
  exit 113
fi
echo "$1" > "$dir/fence.$$"
mv "$dir/fence.$$" "$dir/fence"

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

cat > "$dir/script.$$"
setsid sh -eu "$dir/script.$$" < /dev/null &
step=$!
echo "$step" > "$dir/step"
trap 'kill -KILL "-$step" 2> /dev/null || true' TERM HUP INT
wait "$step" && status=0 || status=$?
rm -f "$dir/script.$$" "$dir/step"
exit "$status"
