# IW_DISKS as in wipe.sh. Reads, past the page cache: the first and last MiB, where an installation of ours keeps what is
# needed to read it, IW_SAMPLES random blocks of 4 KiB by IW_SEED, and everything when IW_WHOLE is true. Exit status 3 with what was found when anything is not zero.
unproven() { echo "unproven $1 $2" >&2; exit 3; }
block=4096
known=$(mktemp)
printf '%s\n' "$IW_DISKS" > "$known"

# by path: busybox prefers its own applet, which compares byte by byte
cmp=$(which cmp)
# zero BYTES: file descriptor 3 holds exactly so many zeros
zero() { head -c "$1" /dev/zero | "$cmp" -s - /proc/self/fd/3; }
span() { # PATH FIRST-BLOCK BLOCKS WHAT
  dd if="$1" bs=$block skip="$2" count="$3" iflag=direct status=none > "$work/span"
  [ "$(stat -c %s "$work/span")" -eq $(($3 * block)) ] || unproven "$1" "$4 cannot be read"
  zero $(($3 * block)) 3< "$work/span" || unproven "$1" "data in $4"
}
work=$(mktemp -d)

# layout BLOCKS: the first block of each piece of 16 blocks to look at, by what install/partition.sh makes: BIOS boot at
# 1 MiB, EFI system at 2 MiB, root at 66 MiB. ext4's groups are 128 MiB: the first 1024 begin with what an installation
# writes first, and groups 0, 1 and powers of 3, 5 and 7 hold copies of its superblock (sparse_super) wherever they are.
layout() {
  awk -v blocks="$1" 'function look(block) { if (block + 16 <= blocks) printf "%.0f\n", block }
    function group(number) { look(16896 + number * 32768) }
    BEGIN {
      for (block = 256; block < 1024; block += 16) look(block)
      for (number = 0; number < 1024; number++) group(number)
      for (base = 3; base <= 7; base += 2)
        for (number = base; number < blocks / 32768; number *= base) if (number >= 1024) group(number)
    }'
}

printf '['
comma=
while read -r path size serial; do
  [ -n "$path" ] || continue
  found=$(wipefs --noheadings --parsable --output TYPE "$path" | tr '\n' ' ')
  [ -z "$found" ] || unproven "$path" "signatures: $found"
  blocks=$((size / block))
  span "$path" 0 256 "its first MiB"
  span "$path" $((blocks - 256)) 256 "its last MiB"

  layout "$blocks" > "$work/layout"
  while read -r place; do
    dd if="$path" bs=$block skip="$place" count=16 iflag=direct status=none
  done < "$work/layout" > "$work/kept"
  kept=$(($(wc -l < "$work/layout") * 16 * block))
  [ "$(stat -c %s "$work/kept")" -eq "$kept" ] || unproven "$path" "a block of our own layout cannot be read"
  zero "$kept" 3< "$work/kept" || unproven "$path" "data where an installation keeps its own"

  # the same blocks for the same seed: whoever doubts the record can look again
  awk -v seed="$IW_SEED" -v count="$IW_SAMPLES" -v blocks="$blocks" \
    'BEGIN { srand(seed); for (i = 0; i < count; i++) printf "%.0f\n", int((rand() + rand() / 2147483647) * blocks) % blocks }' > "$work/places"
  while read -r place; do
    dd if="$path" bs=$block skip="$place" count=1 iflag=direct status=none
  done < "$work/places" > "$work/sampled"
  [ "$(stat -c %s "$work/sampled")" -eq $((IW_SAMPLES * block)) ] || unproven "$path" "a sample cannot be read"
  zero $((IW_SAMPLES * block)) 3< "$work/sampled" || unproven "$path" "data in a sampled block (seed $IW_SEED)"

  if [ "$IW_WHOLE" = true ]; then
    dd if="$path" bs=4M iflag=direct status=none 3<&- | { zero "$size" 3<&0; } || unproven "$path" "data somewhere on it (read whole)"
  fi
  printf '%s{"path":"%s","samples":%s}' "$comma" "$path" "$IW_SAMPLES"
  comma=,
done < "$known"
printf ']\n'
rm -rf "$work"
