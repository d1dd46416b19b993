package main

import (
	"io"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bodyOrder is the body of one HTTP answer whose head the parent has sent already.
type bodyOrder struct {
	ID      uint32 `json:"id"`
	Path    string `json:"path"`
	Version string `json:"version"`
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	// Client is whose turn it is: all its connections share one client's part.
	Client string `json:"client"`
}

const (
	// aTurn is how much a client is sent before the next one is: 1,000 clients are round in a fraction of a second.
	aTurn = 2 << 20
	// turnsAtOnce between two looks at which connections can be written to.
	turnsAtOnce = 16
	// stallBytes must go out in stallTime, or the connection is a client that is gone or one that holds us up.
	stallBytes = 256 << 10
	stallTime  = 30 * time.Second
)

type body struct {
	order  bodyOrder
	fd     int
	file   *os.File
	at     int64
	ready  bool
	moved  int64
	marked time.Time
}

// bodyEngine sends files on many connections by one thread: sendfile(2), in turns, a turn to a client.
type bodyEngine struct {
	carrier *carrier
	poll    poller
	mutex   sync.Mutex
	fresh   []*body
	cancels []uint32

	running map[int]*body
	// clients that can be sent to, in the order of their turns, each with its connections that can.
	turns  []string
	queues map[string][]*body
}

func newBodyEngine(c *carrier) (*bodyEngine, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	e := &bodyEngine{carrier: c, poll: poll, running: map[int]*body{}, queues: map[string][]*body{}}
	go e.run()
	return e, nil
}

// begin takes the descriptor over.
func (e *bodyEngine) begin(o bodyOrder, fd int) {
	file, size, err := openVersion(o.Path, o.Version)
	if err == nil && (o.Offset < 0 || o.Length < 0 || o.Offset+o.Length > size) {
		file.Close()
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		unix.Close(fd)
		e.carrier.end(ending{ID: o.ID, How: "failed", Why: err.Error()})
		return
	}
	e.mutex.Lock()
	e.fresh = append(e.fresh, &body{order: o, fd: fd, file: file, at: o.Offset})
	e.mutex.Unlock()
	e.poll.nudge()
}

func (e *bodyEngine) cancel(id uint32) {
	e.mutex.Lock()
	e.cancels = append(e.cancels, id)
	e.mutex.Unlock()
	e.poll.nudge()
}

func (e *bodyEngine) run() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 256)
	nextScan := time.Now()
	for {
		timeout := -1
		if len(e.running) > 0 {
			timeout = int(tick.Milliseconds())
		}
		if len(e.turns) > 0 {
			timeout = 0
		}
		for _, event := range e.poll.wait(events, timeout) {
			if b, there := e.running[int(event.Fd)]; there {
				e.queue(b)
			}
		}
		e.takeOrders()
		for range min(turnsAtOnce, len(e.turns)) {
			e.turn()
		}
		if now := time.Now(); now.After(nextScan) {
			nextScan = now.Add(time.Second)
			e.endStalled(now)
		}
	}
}

func (e *bodyEngine) takeOrders() {
	e.mutex.Lock()
	fresh, cancels := e.fresh, e.cancels
	e.fresh, e.cancels = nil, nil
	e.mutex.Unlock()
	for _, b := range fresh {
		b.marked = time.Now()
		e.running[b.fd] = b
		// whole segments only, until the end: where a turn ends is none of the network's business
		unix.SetsockoptInt(b.fd, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
		if err := e.poll.add(b.fd, unix.EPOLLOUT|unix.EPOLLONESHOT); err != nil {
			e.finish(b, "failed", err.Error())
			continue
		}
	}
	for _, id := range cancels {
		for _, b := range e.running {
			if b.order.ID == id {
				e.finish(b, "cancelled", "")
			}
		}
	}
}

func (e *bodyEngine) queue(b *body) {
	if b.ready {
		return
	}
	b.ready = true
	client := b.order.Client
	if len(e.queues[client]) == 0 {
		e.turns = append(e.turns, client)
	}
	e.queues[client] = append(e.queues[client], b)
}

// turn sends the next client's next connection its part.
func (e *bodyEngine) turn() {
	client := e.turns[0]
	e.turns = e.turns[1:]
	b := e.queues[client][0]
	if rest := e.queues[client][1:]; len(rest) > 0 {
		e.queues[client] = rest
		e.turns = append(e.turns, client)
	} else {
		delete(e.queues, client)
	}
	b.ready = false
	if _, there := e.running[b.fd]; !there || e.running[b.fd] != b {
		return // ended while it was queued
	}
	end := b.order.Offset + b.order.Length
	part := int(min(aTurn, end-b.at))
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDFILE, uintptr(b.fd), b.file.Fd(), uintptr(unsafe.Pointer(&b.at)), uintptr(part), 0, 0)
	n := 0
	if errno == 0 {
		n = int(sent)
	}
	b.moved += int64(n)
	switch {
	case errno == unix.EAGAIN || 0 < n && n < part && b.at < end:
		// the connection is full; to ask it once more before epoll says that it has room costs more than the asking of epoll
		unix.EpollCtl(e.poll.epoll, unix.EPOLL_CTL_MOD, b.fd, &unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(b.fd)})
	case errno == unix.EINTR:
		e.queue(b)
	case errno != 0:
		e.finish(b, "broken-off", errno.Error())
	case b.at >= end:
		e.finish(b, "done", "")
	case n == 0:
		e.finish(b, "failed", b.order.Path+" became shorter")
	default:
		e.queue(b)
	}
}

func (e *bodyEngine) endStalled(now time.Time) {
	for _, b := range e.running {
		if b.moved >= stallBytes {
			b.moved, b.marked = 0, now
		} else if now.Sub(b.marked) > stallTime {
			e.finish(b, "stalled", "")
		}
	}
}

func (e *bodyEngine) finish(b *body, how, why string) {
	delete(e.running, b.fd)
	unix.EpollCtl(e.poll.epoll, unix.EPOLL_CTL_DEL, b.fd, nil)
	unix.SetsockoptInt(b.fd, unix.IPPROTO_TCP, unix.TCP_CORK, 0) // sends the rest; the connection is the parent's still
	unix.Close(b.fd)
	b.file.Close()
	e.carrier.end(ending{ID: b.order.ID, How: how, Bytes: b.at - b.order.Offset, Why: why})
}
