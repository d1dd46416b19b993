# What is on IW_DISK now, not when it was inspected. Exit status 4: it carries data, and neither IW_MAY_ERASE nor an earlier
# attempt of this very claim covers that: the partition table such an attempt made carries the claim's UID as its own.
if [ "$IW_MAY_ERASE" != true ]; then
  found=
  for part in "$entry" "$entry/${entry##*/}"*; do
    if [ "$part" != "$entry" ] && [ ! -e "$part/partition" ]; then continue; fi
    device=/dev/$(printf %s "${part##*/}" | tr '!' /)
    # wipefs takes blocks that cannot be read for blank ones
    head -c 1048576 "$device" > /dev/null
    types=$(wipefs --noheadings --parsable --output TYPE "$device")
    found="$found $types"
  done
  found=$(echo $found)
  if [ -n "$found" ]; then
    made_for=$(sfdisk --disk-id "$disk" 2> /dev/null | tr A-F a-f) || true
    [ -n "$made_for" ] && [ "$made_for" = "$IW_CLAIM_UID" ] || { echo "consent $disk with $found" >&2; exit 4; }
  fi
fi
