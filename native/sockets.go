package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// listener is one socket to open: NAME=ADDR:PORT[@IFACE].
type listener struct {
	network string
	name    string
	at      netip.AddrPort
	device  string
}

const firstFd = 3

// receiveBuffer holds what a rack of servers that boot at once sends before the daemon comes to read it.
const receiveBuffer = 4 << 20

// congestionControl of boot files' connections, whatever the host's default is for its ways across the internet: BBR paces by a timer
// for each segment, which costs several times what sendfile(2) does, and one network's segments need no pacing.
const congestionControl = "cubic"

// sockets opens sockets bound to one interface each, which Node cannot, and becomes the given command with them inherited by
// systemd's protocol (sd_listen_fds(3)):
//
//	ironwright-native sockets [--netns NAME] [--udp NAME=ADDR:PORT[@IFACE]]… [--tcp NAME=ADDR:PORT[@IFACE]]…
//	    [--probe NAME=IFACE]… -- command args…
//
// With --netns the sockets and the command are in that network namespace. --probe hands over one end of a socket pair at whose other
// end a child asks that interface's network who has an address.
func sockets(args []string) error {
	var listeners []listener
	var probes []listener
	var namespace string
	for len(args) > 0 && args[0] != "--" {
		if len(args) < 2 {
			return fmt.Errorf("%s wants a value", args[0])
		}
		switch args[0] {
		case "--netns":
			namespace = args[1]
		case "--udp", "--tcp":
			one, err := parseListener(strings.TrimPrefix(args[0], "--"), args[1])
			if err != nil {
				return err
			}
			listeners = append(listeners, one)
		case "--probe":
			name, device, found := strings.Cut(args[1], "=")
			if !found || name == "" || device == "" || strings.Contains(name, ":") {
				return fmt.Errorf("--probe %s: want NAME=IFACE", args[1])
			}
			probes = append(probes, listener{name: name, device: device})
		default:
			return fmt.Errorf("no such flag: %s", args[0])
		}
		args = args[2:]
	}
	if len(args) < 2 {
		return errors.New("no command after --")
	}
	command := args[1:]

	// the namespace is the thread's; the thread that execs becomes the process
	runtime.LockOSThread()
	if namespace != "" {
		if err := enterNetworkNamespace(namespace); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	fds := make([]int, len(listeners))
	for i, one := range listeners {
		if fds[i], err = one.open(); err != nil {
			return fmt.Errorf("%s on %s@%s: %w", one.name, one.at, one.device, err)
		}
	}
	for _, one := range probes {
		fd, err := startProbe(one.device)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		fds = append(fds, fd)
	}
	listeners = append(listeners, probes...)
	if err := placeFromThree(fds); err != nil {
		return err
	}
	return syscall.Exec(path, command, listenEnvironment(listeners))
}

func parseListener(network, text string) (listener, error) {
	name, rest, found := strings.Cut(text, "=")
	if !found || name == "" || strings.Contains(name, ":") {
		return listener{}, fmt.Errorf("--%s %s: want NAME=ADDR:PORT[@IFACE]", network, text)
	}
	address, device, _ := strings.Cut(rest, "@")
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Is4() {
		return listener{}, fmt.Errorf("--%s %s: %q is not an IPv4 address with a port", network, text, address)
	}
	return listener{network, name, at, device}, nil
}

func (l listener) open() (int, error) {
	kind := syscall.SOCK_DGRAM
	if l.network == "tcp" {
		kind = syscall.SOCK_STREAM
	}
	fd, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if l.network == "udp" {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_BROADCAST, 1); err != nil {
			return 0, err
		}
		// beyond the limit of unprivileged processes; who may not has the limit
		if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, receiveBuffer) != nil {
			if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer); err != nil {
				return 0, err
			}
		}
	}
	if l.device != "" {
		if err := syscall.BindToDevice(fd, l.device); err != nil {
			return 0, err
		}
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(l.at.Port()), Addr: l.at.Addr().As4()}); err != nil {
		return 0, err
	}
	if l.network == "tcp" {
		// its connections inherit it; a kernel without keeps its own default
		_ = syscall.SetsockoptString(fd, syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, congestionControl)
		return fd, syscall.Listen(fd, 511)
	}
	return fd, nil
}

// placeFromThree moves the sockets to descriptors 3, 4, …, inherited by the command.
func placeFromThree(fds []int) error {
	high := make([]int, len(fds))
	for i, fd := range fds {
		// out of the way first, so that no target overwrites a socket that is still to be moved
		moved, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, uintptr(firstFd+len(fds)))
		if errno != 0 {
			return errno
		}
		high[i] = int(moved)
	}
	for i, fd := range high {
		if err := syscall.Dup3(fd, firstFd+i, 0); err != nil {
			return err
		}
	}
	return nil
}

func listenEnvironment(listeners []listener) []string {
	var names []string
	for _, one := range listeners {
		names = append(names, one.name)
	}
	var environment []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "LISTEN_") {
			environment = append(environment, entry)
		}
	}
	return append(environment,
		"LISTEN_PID="+strconv.Itoa(os.Getpid()),
		"LISTEN_FDS="+strconv.Itoa(len(listeners)),
		"LISTEN_FDNAMES="+strings.Join(names, ":"))
}

// enterNetworkNamespace moves the calling thread into a namespace made by `ip netns add`.
func enterNetworkNamespace(name string) error {
	if strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is not the name of a network namespace", name)
	}
	// not os.Open: it starts the runtime's poller, whose descriptor placeFromThree would pull from under it
	fd, err := syscall.Open("/run/netns/"+name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer syscall.Close(fd)
	if _, _, errno := syscall.RawSyscall(sysSetns, uintptr(fd), syscall.CLONE_NEWNET, 0); errno != 0 {
		return fmt.Errorf("network namespace %s: %w", name, errno)
	}
	return nil
}
