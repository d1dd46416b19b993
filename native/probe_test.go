package main

import (
	"net"
	"net/netip"
	"testing"
)

func TestArpOfAnAddress(t *testing.T) {
	own := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	other := net.HardwareAddr{2, 0, 0, 0, 0, 2}
	address := netip.MustParseAddr("10.77.0.9")
	reply := arpProbe(other, netip.MustParseAddr("10.77.0.1"))
	reply[7] = arpReply
	copy(reply[14:], address.AsSlice())

	holder, held, isHeld := heldAddress(reply, own)
	if !isHeld || holder.String() != other.String() || held != address {
		t.Fatalf("a reply names its sender: %v %v %v", holder, held, isHeld)
	}
	if _, _, isHeld := heldAddress(arpProbe(other, address), own); isHeld {
		t.Fatal("a probe's sender has no address")
	}
	if _, _, isHeld := heldAddress(reply, other); isHeld {
		t.Fatal("our own words prove nothing")
	}
	for length := range reply {
		if _, _, isHeld := heldAddress(reply[:length], own); isHeld {
			t.Fatalf("%d bytes are no ARP packet", length)
		}
	}
}
