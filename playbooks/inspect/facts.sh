# Prints what the machine is made of as JSON: {"facts": "BASE64"}. Inside, one fact a line, tab-separated, first its kind.
# Values are base64 as well (the daemon decodes them), so that no serial number, however odd, can break a line.

enc() { printf %s "$1" | base64 | tr -d '\n'; }
first() { head -n 1 "$1" 2> /dev/null || true; }
# fact KIND VALUE…
fact() {
  printf %s "$1"
  shift
  for value in "$@"; do printf '\t%s' "$(enc "$value")"; done
  printf '\n'
}
trimmed() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//'; }
# a `!` in sysfs stands for the slash of names like cciss/c0d0
device() { printf '/dev/%s' "$1" | tr '!' /; }
# What a disk or partition carries; one that cannot be looked at may carry anything. wipefs takes blocks that cannot be read
# for blank ones: most signatures are in the first MiB.
signatures() {
  head -c 1048576 "$(device "$1")" > /dev/null && wipefs --noheadings --parsable --output TYPE "$(device "$1")" || echo unknown
}

facts() {
  dmi=/sys/class/dmi/id
  fact system "$(first $dmi/sys_vendor)" "$(first $dmi/product_name)" "$(first $dmi/product_serial)" "$(first $dmi/product_uuid)"
  if [ -d /sys/firmware/efi ]; then fact firmware uefi; else fact firmware bios; fi
  fact architecture "$(uname -m)"

  model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  sockets=$(cat /sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id | sort -u | wc -l)
  cores=$(for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
    echo "$(first "$cpu/topology/physical_package_id") $(first "$cpu/topology/core_id")"
  done | sort -u | wc -l)
  threads=$(ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l)
  fact cpu "$model" "$sockets" "$cores" "$threads"
  # modules as the firmware lists them; what the kernel may use is less
  installed=$(dmidecode -q -t 17 2> /dev/null | awk '$1 == "Size:" && $3 ~ /^[KMGT]B$/ { print $2, $3 }')
  fact memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)" "$installed"

  for path in /sys/class/block/*; do
    [ ! -e "$path/partition" ] && [ -e "$path/device" ] || continue
    name=${path##*/}
    case $name in sr* | fd* | mtd* | nvme*c*n*) continue ;; esac
    sectors=$(first "$path/size")
    [ "$sectors" -gt 0 ] || continue
    serial=$(lsblk -dno SERIAL "$(device "$name")" 2> /dev/null | trimmed)
    model=$(lsblk -dno MODEL "$(device "$name")" 2> /dev/null | trimmed)
    wwn=$(lsblk -dno WWN "$(device "$name")" 2> /dev/null | trimmed)
    carries=$(
      signatures "$name"
      for part in "$path"/"$name"*; do
        [ ! -e "$part/partition" ] || signatures "${part##*/}"
      done
    )
    fact disk "$name" "$serial" "$wwn" "$model" "$((sectors * 512))" "$(first "$path/queue/rotational")" "$(first "$path/ro")" "$carries"
  done

  for path in /sys/class/net/*; do
    [ -e "$path/device" ] || continue
    driver=$(readlink "$path/device/driver" || true)
    fact nic "${path##*/}" "$(first "$path/address")" "${driver##*/}" "$(cat "$path/carrier" 2> /dev/null || echo 0)"
  done

  for path in /sys/bus/pci/devices/*; do
    # display controllers: VGA, 3D, other; and AMD's accelerators (class 1200)
    case $(first "$path/class") in 0x0300* | 0x0302* | 0x0380* | 0x1200*) ;; *) continue ;; esac
    address=${path##*/}
    fact gpu "$address" "$(first "$path/vendor")" "$(first "$path/device")" "$(first "$path/numa_node")" "$(lspci -s "$address" 2> /dev/null | cut -d' ' -f2-)"
  done
}

# not in a pipeline, where half of the facts would do
found=$(facts)
printf '{"facts":"%s"}\n' "$(printf '%s\n' "$found" | base64 | tr -d '\n')"
