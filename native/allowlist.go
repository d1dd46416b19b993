package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// allowList is a file of machines that may be answered, read again whenever it was written.
type allowList struct {
	path    string
	written time.Time
	size    int64
	until   map[string]int64
}

func (a *allowList) holds(askers []net.HardwareAddr, now time.Time) bool {
	a.read()
	for _, asker := range askers {
		if a.until[asker.String()] > now.Unix() {
			return true
		}
	}
	return false
}

func (a *allowList) read() {
	state, err := os.Stat(a.path)
	if err != nil {
		a.until, a.written = nil, time.Time{}
		return
	}
	if state.ModTime().Equal(a.written) && state.Size() == a.size {
		return
	}
	text, err := os.ReadFile(a.path)
	if err != nil {
		return
	}
	a.written, a.size = state.ModTime(), state.Size()
	a.until = parseAllowed(string(text))
}

// parseAllowed reads lines of a MAC and a time; others are passed over.
func parseAllowed(text string) map[string]int64 {
	until := map[string]int64{}
	for _, line := range strings.Split(text, "\n") {
		mac, end, _ := strings.Cut(line, " ")
		seconds, err := strconv.ParseInt(end, 10, 64)
		if err == nil {
			until[mac] = seconds
		}
	}
	return until
}

// askersOf is which NIC asks: the source link-layer address it gives (RFC 4861 §4.6.1), and the one its link-local address is made of
// (RFC 4291 appendix A), as boot firmware makes it.
func askersOf(solicitation []byte, source [16]byte) []net.HardwareAddr {
	var askers []net.HardwareAddr
	for at := 8; at+8 <= len(solicitation); at += 8 * int(solicitation[at+1]) {
		if solicitation[at+1] == 0 {
			break
		}
		if solicitation[at] == 1 && solicitation[at+1] == 1 {
			askers = append(askers, append(net.HardwareAddr(nil), solicitation[at+2:at+8]...))
		}
	}
	if source[11] == 0xff && source[12] == 0xfe {
		askers = append(askers, net.HardwareAddr{source[8] ^ 2, source[9], source[10], source[13], source[14], source[15]})
	}
	return askers
}
