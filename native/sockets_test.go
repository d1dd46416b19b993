package main

import (
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBootFilesAreNotPacedByTheHostsCongestionControl(t *testing.T) {
	available, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(available), congestionControl) {
		t.Skipf("this kernel has %s", strings.TrimSpace(string(available)))
	}
	accepted, _ := connection(t)
	if got, err := unix.GetsockoptString(accepted, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil || got != congestionControl {
		t.Errorf("a connection has %q (%v), want %q", got, err, congestionControl)
	}
}

// connection is one by TCP over loopback, our end and the other's; closed with the test.
func connection(t *testing.T) (accepted, client int) {
	t.Helper()
	fd, err := listener{network: "tcp", name: "http@lo", at: netip.MustParseAddrPort("127.0.0.1:0")}.open()
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	client, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(client) })
	if err := syscall.Connect(client, at); err != nil {
		t.Fatal(err)
	}
	accepted, _, err = syscall.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(accepted) })
	return accepted, client
}
