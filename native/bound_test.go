package main

import (
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
)

func TestBoundNamesTheInterfaceOfEachSocket(t *testing.T) {
	descriptors := []string{}
	for _, device := range []string{"lo", ""} {
		fd, err := listener{network: "udp", name: "dhcp@lo", at: netip.MustParseAddrPort("127.0.0.1:0"), device: device}.open()
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		descriptors = append(descriptors, strconv.Itoa(fd))
	}
	if got := printed(t, func() error { return bound(descriptors) }); got != "lo\n\n" {
		t.Errorf("got %q, want lo and nothing", got)
	}
	for _, bad := range [][]string{{}, {"x"}, {"4095"}} {
		if bound(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// printed is what was written on standard output meanwhile.
func printed(t *testing.T, act func() error) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := os.Stdout
	os.Stdout = file
	err = act()
	os.Stdout = before
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
