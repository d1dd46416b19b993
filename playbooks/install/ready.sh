# Late drivers may bring the disks: a step that goes on after another boot starts here too.
tries=300
until [ -e /run/ironwright/ready ]; do
  tries=$((tries - 1))
  [ $tries -gt 0 ] || { echo "the installer's drivers were not ready within a minute" >&2; exit 1; }
  sleep 0.2
done
