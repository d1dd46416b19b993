package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tftpOrder is one read transfer, its options negotiated by the parent (RFC 2347, 2348, 2349, 7440).
type tftpOrder struct {
	ID      uint32 `json:"id"`
	Path    string `json:"path"`
	Version string `json:"version"`
	// From is the address the transfer leaves from, To the client's with its port.
	From       string `json:"from"`
	To         string `json:"to"`
	BlockSize  int    `json:"blockSize"`
	WindowSize int    `json:"windowSize"`
	// TimeoutMs is what waits for an answer at most; FixedTimeout when the client asked for just that (RFC 2349).
	TimeoutMs    int  `json:"timeoutMs"`
	FixedTimeout bool `json:"fixedTimeout"`
	// OptionAck is the datagram that grants options, base64; none when none is granted.
	OptionAck string `json:"optionAck"`
	AskedSize bool   `json:"askedSize"`
}

const (
	tftpData  = 3
	tftpAck   = 4
	tftpError = 5

	tftpTries = 6
	// shortestWait for an answer, once the round trip is known. Firmware that writes what it got is slower than the wire.
	shortestWait = 250 * time.Millisecond
	// longestTrain is how many datagrams one call sends: UDP_MAX_SEGMENTS of Linux before 6.9.
	longestTrain = 64
	mostTrained  = 65_000
)

type tftpTransfer struct {
	order tftpOrder
	// fd is connected to the client: the kernel then keeps the way there, and looks it up for no datagram.
	fd int
	// aside has the same port and is not connected: what strangers send comes there.
	aside   int
	content []byte
	// last is the number of the last block; blocks count from 1 and do not roll over here.
	last int64
	// acked is -1 until the granted options are acknowledged.
	acked, sent int64
	optionAck   []byte
	resentFor   int64
	tries       int
	sentAt      time.Duration
	due         time.Duration
	roundTrip   time.Duration
	// train: the kernel cuts one long buffer into datagrams (UDP_SEGMENT).
	train     bool
	strangers int
	malformed int
}

// tftpEngine runs all transfers on one thread of its own.
type tftpEngine struct {
	carrier *carrier
	poll    poller
	began   time.Time
	mutex   sync.Mutex
	fresh   []*tftpTransfer
	cancels []uint32
	ordered atomic.Bool

	// running has each transfer twice, by each of its descriptors.
	running map[int]*tftpTransfer
	buffer  [2048]byte
	headers [longestTrain][4]byte
	vectors [2 * longestTrain]unix.Iovec
}

func newTftpEngine(c *carrier) (*tftpEngine, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	e := &tftpEngine{carrier: c, poll: poll, began: time.Now(), running: map[int]*tftpTransfer{}}
	go e.run()
	return e, nil
}

func (e *tftpEngine) begin(o tftpOrder) {
	t, err := e.open(o)
	if err != nil {
		e.carrier.end(ending{ID: o.ID, How: "failed", Why: err.Error()})
		return
	}
	e.mutex.Lock()
	e.fresh = append(e.fresh, t)
	e.ordered.Store(true)
	e.mutex.Unlock()
	e.poll.nudge()
}

func (e *tftpEngine) cancel(id uint32) {
	e.mutex.Lock()
	e.cancels = append(e.cancels, id)
	e.ordered.Store(true)
	e.mutex.Unlock()
	e.poll.nudge()
}

func (e *tftpEngine) open(o tftpOrder) (*tftpTransfer, error) {
	from, err := netip.ParseAddr(o.From)
	if err != nil || !from.Is4() {
		return nil, fmt.Errorf("%q is not an IPv4 address", o.From)
	}
	to, err := netip.ParseAddrPort(o.To)
	if err != nil || !to.Addr().Is4() {
		return nil, fmt.Errorf("%q is not an IPv4 address with a port", o.To)
	}
	if o.BlockSize < 8 || o.BlockSize > 65_464 || o.WindowSize < 1 || o.WindowSize > 65_535 || o.TimeoutMs < 1 {
		return nil, fmt.Errorf("block size %d, window size %d, timeout %d ms", o.BlockSize, o.WindowSize, o.TimeoutMs)
	}
	optionAck, err := base64.StdEncoding.DecodeString(o.OptionAck)
	if err != nil {
		return nil, err
	}
	content, err := e.carrier.files.read(o.Path, o.Version)
	if err != nil {
		return nil, err
	}
	fd, aside, err := transferSockets(from.As4(), to)
	if err != nil {
		return nil, err
	}
	t := &tftpTransfer{order: o, fd: fd, aside: aside, content: content, optionAck: optionAck, resentFor: -1}
	// without it each datagram is a call of its own: it only costs
	t.train = o.WindowSize > 1 && unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, o.BlockSize+4) == nil
	// a file that fills its last block ends with an empty one (RFC 1350 §6)
	t.last = int64(len(content)/o.BlockSize) + 1
	if len(optionAck) > 0 {
		t.acked, t.sent = -1, -1
	}
	return t, nil
}

// transferSockets are two of one port: one for the client alone, and one for whoever else sends there.
func transferSockets(from [4]byte, to netip.AddrPort) (fd, aside int, err error) {
	const kind = unix.SOCK_DGRAM | unix.SOCK_CLOEXEC
	if aside, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK, 0); err != nil {
		return
	}
	defer func() {
		if err != nil {
			unix.Close(aside)
		}
	}()
	if err = unix.Bind(aside, &unix.SockaddrInet4{Addr: from}); err != nil {
		return
	}
	// not before it has a port: the kernel may choose one for it that another such socket has
	if err = unix.SetsockoptInt(aside, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return
	}
	name, err := unix.Getsockname(aside)
	if err != nil {
		return
	}
	if fd, err = unix.Socket(unix.AF_INET, kind, 0); err != nil {
		return
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	patience := unix.NsecToTimeval(int64(tick))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return
	}
	if err = unix.Bind(fd, name); err != nil {
		return
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	return
}

func (e *tftpEngine) now() time.Duration { return time.Since(e.began) }

func (e *tftpEngine) run() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 128)
	nextScan := time.Duration(0)
	for {
		if t := e.only(); t != nil {
			e.receive(t, 0)
		} else {
			e.receiveAll(events)
		}
		if e.ordered.Load() {
			e.takeOrders()
		}
		if now := e.now(); now >= nextScan {
			nextScan = now + tick
			if t := e.only(); t != nil {
				e.receiveStranger(t) // nobody polls then
			}
			for fd, t := range e.running {
				if fd == t.fd && now >= t.due {
					e.expire(t)
				}
			}
		}
	}
}

// only is the one transfer there is: its acknowledgements are waited for in the receiving call itself, which is what one that
// sends block by block gains most by. Nil when there are more, or none, or an order waits.
func (e *tftpEngine) only() *tftpTransfer {
	if len(e.running) != 2 || e.ordered.Load() {
		return nil
	}
	for _, t := range e.running {
		return t
	}
	return nil
}

func (e *tftpEngine) receiveAll(events []unix.EpollEvent) {
	timeout := -1
	if len(e.running) > 0 {
		timeout = int(tick.Milliseconds())
	}
	for _, event := range e.poll.wait(events, timeout) {
		switch t, there := e.running[int(event.Fd)]; {
		case !there:
		case int(event.Fd) == t.aside:
			e.receiveStranger(t)
		default:
			e.receive(t, unix.MSG_DONTWAIT)
		}
	}
}

func (e *tftpEngine) takeOrders() {
	e.mutex.Lock()
	fresh, cancels := e.fresh, e.cancels
	e.fresh, e.cancels = nil, nil
	e.ordered.Store(false)
	e.mutex.Unlock()
	for _, t := range fresh {
		e.running[t.fd], e.running[t.aside] = t, t
		err := e.poll.add(t.fd, unix.EPOLLIN)
		if err == nil {
			err = e.poll.add(t.aside, unix.EPOLLIN)
		}
		if err != nil {
			e.finish(t, "failed", err.Error())
			continue
		}
		e.sendWindow(t)
	}
	for _, id := range cancels {
		for _, t := range e.running {
			if t.order.ID == id {
				e.finish(t, "cancelled", "")
			}
		}
	}
}

func (e *tftpEngine) finish(t *tftpTransfer, how, why string) {
	for _, fd := range []int{t.fd, t.aside} {
		delete(e.running, fd)
		unix.Close(fd)
	}
	bytes := min(max(t.acked, 0)*int64(t.order.BlockSize), int64(len(t.content)))
	e.carrier.end(ending{t.order.ID, how, bytes, why, t.strangers, t.malformed})
}

// receive takes one datagram of the client's; the rest is reported again.
func (e *tftpEngine) receive(t *tftpTransfer, flags int) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(t.fd), uintptr(unsafe.Pointer(&e.buffer)), uintptr(len(e.buffer)), uintptr(flags), 0, 0)
	if errno != 0 {
		return // nothing there, or the ICMP answer of a client that is gone: the tries run out
	}
	datagram := e.buffer[:n]
	isShort := len(datagram) < 4
	if isShort {
		t.malformed++
		return
	}
	switch binary.BigEndian.Uint16(datagram) {
	case tftpAck:
		e.acknowledge(t, int64(binary.BigEndian.Uint16(datagram[2:])))
	case tftpError:
		// firmware asks for the size first and then ends the transfer: no failure
		if t.order.AskedSize && t.acked <= 0 {
			e.finish(t, "size-probe", "")
			return
		}
		text := datagram[4:]
		for i, b := range text {
			if b < ' ' || b > '~' {
				text = text[:i]
				break
			}
		}
		e.finish(t, "aborted", string(text))
	default:
		t.malformed++
	}
}

// receiveStranger takes one datagram that is not the client's. RFC 1350 §4: a stranger gets an error and disturbs nothing. An error
// is never answered by one.
func (e *tftpEngine) receiveStranger(t *tftpTransfer) {
	var from unix.RawSockaddrInet4
	size := uint32(unsafe.Sizeof(from))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(t.aside), uintptr(unsafe.Pointer(&e.buffer)), uintptr(len(e.buffer)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return
	}
	t.strangers++
	if datagram := e.buffer[:n]; len(datagram) >= 4 && binary.BigEndian.Uint16(datagram) != tftpError {
		e.send(t.aside, &from, []byte("\x00\x05\x00\x05unknown transfer\x00"))
	}
}

func (e *tftpEngine) acknowledge(t *tftpTransfer, block int64) {
	base := max(t.acked, 0)
	ahead := (block - base) & 0xffff
	switch {
	case t.acked < 0 && block == 0:
		t.acked = 0
	case ahead == 0:
		// a duplicate: answering it would double every packet to the end (RFC 1123 §4.2.3.1). With a window it can also mean that
		// the window's first block was lost (RFC 7440 §4): once is answered
		if t.order.WindowSize == 1 || t.acked < 0 || t.resentFor == t.acked {
			return
		}
		t.resentFor = t.acked
		e.sendWindow(t)
		return
	case t.acked < 0 || ahead > t.sent-base:
		return
	default:
		t.acked = base + ahead
	}
	// Karn's rule: what was sent twice says nothing about the round trip
	if t.tries == 0 {
		taken := e.now() - t.sentAt
		t.roundTrip += (taken - t.roundTrip) / 8
	}
	t.tries = 0
	if t.acked >= t.last {
		e.finish(t, "done", "")
		return
	}
	e.sendWindow(t)
}

func (e *tftpEngine) expire(t *tftpTransfer) {
	t.tries++
	if t.tries < tftpTries {
		e.sendWindow(t)
		return
	}
	if t.acked <= 0 {
		e.finish(t, "unanswered", "")
	} else {
		e.finish(t, "timed-out", "")
	}
}

// wait is how long the next answer is waited for: as asked, or by the round trip, doubled each time.
func (t *tftpTransfer) wait() time.Duration {
	most := time.Duration(t.order.TimeoutMs) * time.Millisecond
	if t.order.FixedTimeout {
		return most
	}
	if t.roundTrip == 0 {
		return most << min(t.tries, 2)
	}
	return min(max(8*t.roundTrip, shortestWait)<<t.tries, 4*most)
}

// sendWindow sends everything from behind the last acknowledged block to the window's end.
func (e *tftpEngine) sendWindow(t *tftpTransfer) {
	t.sentAt = e.now()
	t.due = t.sentAt + t.wait()
	if t.acked < 0 {
		t.sent = 0
		e.send(t.fd, nil, t.optionAck)
		return
	}
	t.sent = min(t.acked+int64(t.order.WindowSize), t.last)
	most := 1
	if t.train {
		most = min(longestTrain, mostTrained/(t.order.BlockSize+4))
	}
	for from := t.acked + 1; from <= t.sent; {
		count := min(int(t.sent-from)+1, most)
		errno := e.sendBlocks(t, from, count)
		if errno == unix.EAGAIN {
			// the socket's buffer is full: the wire takes some of it soon
			unix.Poll([]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLOUT}}, 1)
			errno = e.sendBlocks(t, from, count)
		}
		if (errno == unix.EIO || errno == unix.EINVAL) && t.train {
			// the interface cannot cut
			t.train, most = false, 1
			unix.SetsockoptInt(t.fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0)
			continue
		}
		if errno != 0 {
			return // as lost: sent again when it is due
		}
		from += int64(count)
	}
}

// sendBlocks sends several blocks by one call, straight from the file's content.
func (e *tftpEngine) sendBlocks(t *tftpTransfer, first int64, count int) unix.Errno {
	vectors := 0
	for i := range count {
		block := first + int64(i)
		header := &e.headers[i]
		binary.BigEndian.PutUint16(header[:], tftpData)
		binary.BigEndian.PutUint16(header[2:], uint16(block)) // rolls over to 0
		e.vectors[vectors] = unix.Iovec{Base: &header[0], Len: 4}
		vectors++
		from := (block - 1) * int64(t.order.BlockSize)
		if part := t.content[from:min(from+int64(t.order.BlockSize), int64(len(t.content)))]; len(part) > 0 {
			e.vectors[vectors] = unix.Iovec{Base: &part[0], Len: uint64(len(part))}
			vectors++
		}
	}
	return e.sendVectors(t.fd, nil, vectors)
}

// send sends one datagram; to is nil where the socket is connected.
func (e *tftpEngine) send(fd int, to *unix.RawSockaddrInet4, datagram []byte) {
	e.vectors[0] = unix.Iovec{Base: &datagram[0], Len: uint64(len(datagram))}
	e.sendVectors(fd, to, 1)
}

func (e *tftpEngine) sendVectors(fd int, to *unix.RawSockaddrInet4, vectors int) unix.Errno {
	message := unix.Msghdr{Iov: &e.vectors[0], Iovlen: uint64(vectors)}
	if to != nil {
		message.Name, message.Namelen = (*byte)(unsafe.Pointer(to)), uint32(unsafe.Sizeof(*to))
	}
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)), unix.MSG_DONTWAIT)
		// of an earlier datagram, told now: this one has not been sent yet
		if errno != unix.ECONNREFUSED {
			return errno
		}
	}
}
