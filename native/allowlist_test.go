package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAllowListFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netbooting")
	list := &allowList{path: path}
	now := time.Unix(1000, 0)
	source := netip.MustParseAddr("fe80::5054:ff:fe77:1").As16()
	askers := askersOf(make([]byte, 8), source)
	if len(askers) != 1 || askers[0].String() != "52:54:00:77:00:01" {
		t.Fatalf("the NIC of %v is %v", source, askers)
	}
	if list.holds(askers, now) {
		t.Fatal("nobody is allowed without the file")
	}
	if err := os.WriteFile(path, []byte("garbage\n52:54:00:77:00:01 1060\n52:54:00:77:00:02 x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !list.holds(askers, now) {
		t.Fatal("who is named is allowed")
	}
	if list.holds(askers, now.Add(time.Minute)) {
		t.Fatal("it was allowed for a minute only")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if list.holds(askers, now) {
		t.Fatal("nobody is allowed when the file is gone")
	}
}

func TestAskerByItsOption(t *testing.T) {
	solicitation := make([]byte, 16)
	copy(solicitation[8:], []byte{1, 1, 2, 0, 0, 0, 0, 9})
	askers := askersOf(solicitation, netip.MustParseAddr("fe80::1234").As16())
	if len(askers) != 1 || askers[0].String() != "02:00:00:00:00:09" {
		t.Fatalf("got %v", askers)
	}
	// an option without a length would go on for ever
	solicitation[9] = 0
	if askers := askersOf(solicitation, [16]byte{}); len(askers) != 0 {
		t.Fatalf("got %v", askers)
	}
}
