package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// ICMPv6 types: RFC 4861 §4.1 and §4.2.
const (
	routerSolicitation  = 133
	routerAdvertisement = 134
)

const (
	ipv6MulticastHops = 0x12
	ipv6UnicastHops   = 0x10
	ipv6RecvHopLimit  = 0x33
	ipv6HopLimit      = 0x34
	icmpv6Filter      = 1
)

// advertise answers router solicitations on one interface so that boot firmware does not wait for a router that is not there:
//
//	ironwright-native advertise --interface IFACE --allow FILE [--netns NAME]
//
// FILE names who is answered: the machines that boot from here just now, as lines of a MAC and the time, in seconds since 1970, until
// which it holds. Nobody else on the network hears anything, and without the file nobody does.
//
// iPXE waits some 16 s for a router advertisement before it uses the IPv4 address it has. The answer says that this is no router:
// lifetime 0, no prefix, no flags, to the asker alone. A host that hears it learns no route and no address (RFC 4861 §6.3.4).
func advertise(args []string) error {
	var device, namespace, allow string
	for len(args) > 0 {
		if len(args) < 2 {
			return fmt.Errorf("%s wants a value", args[0])
		}
		switch args[0] {
		case "--interface":
			device = args[1]
		case "--netns":
			namespace = args[1]
		case "--allow":
			allow = args[1]
		default:
			return fmt.Errorf("no such flag: %s", args[0])
		}
		args = args[2:]
	}
	if device == "" {
		return errors.New("--interface is missing: no other than a named interface is ever answered on")
	}
	if allow == "" {
		return errors.New("--allow is missing: nobody but the machines it names is ever answered")
	}
	runtime.LockOSThread()
	if namespace != "" {
		if err := enterNetworkNamespace(namespace); err != nil {
			return err
		}
	}
	at, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := openSolicitations(at)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return answerSolicitations(fd, at, &allowList{path: allow})
}

func openSolicitations(at *net.Interface) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.IPPROTO_ICMPV6)
	if err != nil {
		return 0, err
	}
	if err := syscall.BindToDevice(fd, at.Name); err != nil {
		return 0, err
	}
	// RFC 4861 §6.1: neighbours alone can send with hop limit 255
	for _, option := range []int{ipv6MulticastHops, ipv6UnicastHops} {
		if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, option, 255); err != nil {
			return 0, err
		}
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6RecvHopLimit, 1); err != nil {
		return 0, err
	}
	// a set bit blocks: all but solicitations
	filter := [8]uint32{}
	for i := range filter {
		filter[i] = ^uint32(0)
	}
	filter[routerSolicitation/32] &^= 1 << (routerSolicitation % 32)
	blocked := unsafe.Slice((*byte)(unsafe.Pointer(&filter[0])), 32)
	if err := syscall.SetsockoptString(fd, syscall.IPPROTO_ICMPV6, icmpv6Filter, string(blocked)); err != nil {
		return 0, err
	}
	allRouters := &syscall.IPv6Mreq{Multiaddr: netip.MustParseAddr("ff02::2").As16(), Interface: uint32(at.Index)}
	return fd, syscall.SetsockoptIPv6Mreq(fd, syscall.IPPROTO_IPV6, syscall.IPV6_JOIN_GROUP, allRouters)
}

func answerSolicitations(fd int, at *net.Interface, allowed *allowList) error {
	packet := make([]byte, 1500)
	control := make([]byte, 128)
	for {
		n, controlled, _, from, err := syscall.Recvmsg(fd, packet, control, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		asker, isInet6 := from.(*syscall.SockaddrInet6)
		if !isInet6 || !isSolicitation(packet[:n], control[:controlled]) {
			continue
		}
		// an asker without an address could be answered by multicast only, which all would hear
		if !netip.AddrFrom16(asker.Addr).IsLinkLocalUnicast() {
			continue
		}
		if !allowed.holds(askersOf(packet[:n], asker.Addr), time.Now()) {
			continue
		}
		to := &syscall.SockaddrInet6{Addr: asker.Addr, ZoneId: uint32(at.Index)}
		// what cannot be sent now is asked for again
		_ = syscall.Sendto(fd, noRouterHere(hardwareNow(at)), 0, to)
	}
}

// isSolicitation checks what RFC 4861 §6.1.1 wants checked; the kernel has checked the sum.
func isSolicitation(packet, control []byte) bool {
	if len(packet) < 8 || packet[0] != routerSolicitation || packet[1] != 0 {
		return false
	}
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, message := range messages {
		if message.Header.Level == syscall.IPPROTO_IPV6 && message.Header.Type == ipv6HopLimit && len(message.Data) >= 4 {
			return binary.NativeEndian.Uint32(message.Data) == 255
		}
	}
	return false
}

// noRouterHere is a router advertisement (RFC 4861 §4.2) with router lifetime 0 and the sender's link-layer address.
func noRouterHere(hardware net.HardwareAddr) []byte {
	message := make([]byte, 16, 24)
	message[0] = routerAdvertisement
	if len(hardware) == 6 {
		message = append(message, 1, 1)
		message = append(message, hardware...)
	}
	return message
}
