// Ironwright-native does what Node cannot, one verb each.
package main

import (
	"fmt"
	"os"
)

const usage = `ironwright-native VERB …

  sockets [--netns NAME] [--udp NAME=ADDR:PORT[@IFACE]]… [--tcp NAME=ADDR:PORT[@IFACE]]… [--probe NAME=IFACE]… -- COMMAND…
      opens sockets bound to interfaces and becomes the command, which inherits them by systemd's protocol
  bound FD…
      which interface each of these sockets, inherited, is bound to, a line each
  probe --interface IFACE
      asks by ARP who has an address; started by sockets --probe
  advertise --interface IFACE --allow FILE [--netns NAME]
      answers router solicitations of the machines in FILE: there is no router, do not wait for one
  carry
      moves files for the boot plane that starts it: TFTP transfers, and bodies of HTTP answers by sendfile(2)
  cell --name NAME --uid N --gid N [--join PID:STARTTICKS] [--listen SOCKET=GID] [--dir PATH] [--cpu MILLICORES]
       [--memory BYTES] [--pids N] [--read-only SOURCE=TARGET]… [--writable SOURCE=TARGET]… -- COMMAND…
      becomes the command as that user, in a cgroup, a network and a file system of its own
  cgroup remove|reclaim|kill|stop|continue NAME | cgroup usage NAME…
      looks after a cell's cgroup
  door --api-listen ADDRESS --api ADDRESS --etcd-listen ADDRESS --etcd ADDRESS
      carries bytes between a tenant's cell and sockets outside it: to its apiserver, and to its etcd
  page out|in|anew [--needed FILE] PID:STARTTICKS… | page note FILE PID:STARTTICKS…
      pushes the memory of processes out to swap, or to a new place there, or brings it back before they need it; notes which of it
      they have needed
  swap on plain|encrypted|zram FILE BYTES | swap off|show FILE
      room to push memory out to
  device-plugin [--kubelet-dir DIR] [--pci-dir DIR]
      a SIMULATED NVIDIA device plugin: advertises NVIDIA's PCI functions as nvidia.com/gpu, without a driver
`

var verbs = map[string]func(args []string) error{
	"sockets":       sockets,
	"bound":         bound,
	"advertise":     advertise,
	"probe":         probe,
	"carry":         carry,
	"cell":          cell,
	"cgroup":        cgroupVerb,
	"door":          door,
	"page":          page,
	"swap":          swap,
	"device-plugin": devicePlugin,
}

func main() {
	if len(os.Args) < 2 || os.Args[1] == "--help" || os.Args[1] == "-h" {
		fmt.Print(usage)
		return
	}
	verb, known := verbs[os.Args[1]]
	if !known {
		fmt.Fprintf(os.Stderr, "ironwright-native: no verb %s\n\n%s", os.Args[1], usage)
		os.Exit(2)
	}
	if err := verb(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "ironwright-native %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
