package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	etherTypeArp = 0x0806
	arpRequest   = 1
	arpReply     = 2
	// RFC 5227 §1.1 waits for seconds; a client's firmware does not
	probeAgainAfter = 150 * time.Millisecond
	probeFor        = 400 * time.Millisecond
)

// probe asks one interface's network by ARP (RFC 5227 §2.1.1) whether somebody has an address. It is started by `sockets --probe`
// with one end of a socket pair as its descriptor 3: each line it reads is an address, each line it writes `ADDRESS free` or
// `ADDRESS used MAC`. It ends with its starter.
//
//	ironwright-native probe --interface IFACE
func probe(args []string) error {
	if len(args) != 2 || args[0] != "--interface" {
		return errors.New("want --interface IFACE")
	}
	at, err := net.InterfaceByName(args[1])
	if err != nil {
		return err
	}
	if len(at.HardwareAddr) != 6 {
		return fmt.Errorf("%s is not Ethernet", at.Name)
	}
	prober, err := openProber(at)
	if err != nil {
		return fmt.Errorf("%s: %w", at.Name, err)
	}
	pair := os.NewFile(firstFd, "pair")
	if pair == nil {
		return errors.New("it is started by ironwright-native sockets")
	}
	go prober.listen()
	return prober.serve(pair, pair)
}

type prober struct {
	fd     int
	at     *net.Interface
	lock   sync.Mutex
	asking map[netip.Addr][]chan net.HardwareAddr
}

func openProber(at *net.Interface) (*prober, error) {
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, int(networkOrder(etherTypeArp)))
	if err != nil {
		return nil, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: networkOrder(etherTypeArp), Ifindex: at.Index}); err != nil {
		return nil, err
	}
	return &prober{fd: fd, at: at, asking: map[netip.Addr][]chan net.HardwareAddr{}}, nil
}

func (p *prober) serve(from io.Reader, to io.Writer) error {
	var writing sync.Mutex
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		address, err := netip.ParseAddr(strings.TrimSpace(lines.Text()))
		if err != nil || !address.Is4() {
			continue
		}
		go func() {
			verdict := "free"
			if holder := p.ask(address); holder != nil {
				verdict = "used " + holder.String()
			}
			writing.Lock()
			defer writing.Unlock()
			_, _ = fmt.Fprintf(to, "%s %s\n", address, verdict)
		}()
	}
	return lines.Err()
}

// ask returns who has the address, or nil when nobody says so in time.
func (p *prober) ask(address netip.Addr) net.HardwareAddr {
	answer := make(chan net.HardwareAddr, 1)
	p.lock.Lock()
	p.asking[address] = append(p.asking[address], answer)
	p.lock.Unlock()
	defer p.forget(address, answer)

	end := time.After(probeFor)
	again := time.NewTicker(probeAgainAfter)
	defer again.Stop()
	p.send(address)
	for {
		select {
		case holder := <-answer:
			return holder
		case <-again.C:
			p.send(address)
		case <-end:
			return nil
		}
	}
}

func (p *prober) forget(address netip.Addr, answer chan net.HardwareAddr) {
	p.lock.Lock()
	defer p.lock.Unlock()
	kept := p.asking[address][:0]
	for _, one := range p.asking[address] {
		if one != answer {
			kept = append(kept, one)
		}
	}
	if len(kept) == 0 {
		delete(p.asking, address)
		return
	}
	p.asking[address] = kept
}

// send asks everybody, from no address of ours, so that nobody's cache changes by it.
func (p *prober) send(address netip.Addr) {
	to := &syscall.SockaddrLinklayer{Protocol: networkOrder(etherTypeArp), Ifindex: p.at.Index, Halen: 6}
	copy(to.Addr[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	// what cannot be sent is not answered, and the address counts as free, as it would without a probe
	_ = syscall.Sendto(p.fd, arpProbe(hardwareNow(p.at), address), 0, to)
}

func (p *prober) listen() {
	packet := make([]byte, 256)
	for {
		n, _, err := syscall.Recvfrom(p.fd, packet, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		holder, address, isHeld := heldAddress(packet[:n], hardwareNow(p.at))
		if !isHeld {
			continue
		}
		p.lock.Lock()
		for _, answer := range p.asking[address] {
			select {
			case answer <- holder:
			default:
			}
		}
		p.lock.Unlock()
	}
}

// arpProbe is an ARP request (RFC 826) whose sender has no address yet.
func arpProbe(from net.HardwareAddr, address netip.Addr) []byte {
	packet := make([]byte, 28)
	binary.BigEndian.PutUint16(packet[0:], 1)
	binary.BigEndian.PutUint16(packet[2:], 0x0800)
	packet[4], packet[5] = 6, 4
	binary.BigEndian.PutUint16(packet[6:], arpRequest)
	copy(packet[8:], from)
	copy(packet[24:], address.AsSlice())
	return packet
}

// heldAddress is who says to have which address: by a reply, or by a request from it.
func heldAddress(packet []byte, own net.HardwareAddr) (net.HardwareAddr, netip.Addr, bool) {
	if len(packet) < 28 || binary.BigEndian.Uint16(packet) != 1 || binary.BigEndian.Uint16(packet[2:]) != 0x0800 || packet[4] != 6 || packet[5] != 4 {
		return nil, netip.Addr{}, false
	}
	operation := binary.BigEndian.Uint16(packet[6:])
	holder := net.HardwareAddr(append([]byte(nil), packet[8:14]...))
	address := netip.AddrFrom4([4]byte(packet[14:18]))
	isSaid := (operation == arpReply || operation == arpRequest) && !address.IsUnspecified() && holder.String() != own.String()
	return holder, address, isSaid
}

// hardwareNow is an interface's address as it is: a bridge's follows its ports, a bond's the port that is up.
func hardwareNow(at *net.Interface) net.HardwareAddr {
	if now, err := net.InterfaceByIndex(at.Index); err == nil {
		return now.HardwareAddr
	}
	return at.HardwareAddr
}

func networkOrder(value uint16) uint16 {
	return value<<8 | value>>8
}

// startProbe runs `probe` on an interface as a child and returns our end of the pair. The child is in the calling thread's network
// namespace, and ends when its end of the pair does.
func startProbe(device string) (int, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "pair")
	defer theirs.Close()
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	command := exec.Command(program, "probe", "--interface", device)
	command.Stderr = os.Stderr
	command.ExtraFiles = []*os.File{theirs}
	return pair[0], command.Start()
}
