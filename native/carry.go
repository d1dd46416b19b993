package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// carry moves the bytes of files that the boot plane, its parent, has decided to hand out: TFTP transfers from a socket of their
// own, and the bodies of HTTP answers by sendfile(2) on connections the parent accepted. It decides nothing: who gets which
// bytes of which file, and with which options, is in the order.
//
// The parent speaks Node's channel for child processes: lines of JSON over the Unix socket NODE_CHANNEL_FD names. An order that
// brings a connection is wrapped as {"cmd":"NODE_HANDLE","msg":ORDER}, its descriptor arrives beside it (SCM_RIGHTS), and
// {"cmd":"NODE_HANDLE_ACK"} is due. The helper ends when the channel does, so it never outlives its parent.
func carry([]string) error {
	fd, err := strconv.Atoi(os.Getenv("NODE_CHANNEL_FD"))
	if err != nil {
		return errors.New("NODE_CHANNEL_FD is not set: only the boot plane starts this")
	}
	file := os.NewFile(uintptr(fd), "channel")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("NODE_CHANNEL_FD: %w", err)
	}
	file.Close()
	channel, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return errors.New("NODE_CHANNEL_FD is not a Unix socket")
	}
	engines := min(runtime.NumCPU(), mostBodyEngines)
	// one for each engine, which may keep it while it waits, and what listens here needs its own
	runtime.GOMAXPROCS(runtime.NumCPU() + engines + 1)
	c := &carrier{channel: channel, files: newFileCache()}
	if c.tftp, err = newTftpEngine(c); err != nil {
		return err
	}
	for range engines {
		engine, err := newBodyEngine(c)
		if err != nil {
			return err
		}
		c.bodies = append(c.bodies, engine)
	}
	c.say(map[string]any{"ready": true})
	return c.listen()
}

const mostBodyEngines = 4

// tick is how long an engine with work waits at most before it looks for what is overdue.
const tick = 10 * time.Millisecond

// order is one message of the parent; one of its fields is set.
type order struct {
	Tftp   *tftpOrder `json:"tftp"`
	Body   *bodyOrder `json:"body"`
	Cancel *struct {
		ID uint32 `json:"id"`
	} `json:"cancel"`
}

// ending is what became of an order.
type ending struct {
	ID  uint32 `json:"id"`
	How string `json:"how"`
	// Bytes the client acknowledged (TFTP) or the kernel took (HTTP).
	Bytes int64  `json:"bytes"`
	Why   string `json:"why,omitempty"`
	// Datagrams of strangers, and such that are no TFTP.
	Strangers int `json:"strangers,omitempty"`
	Malformed int `json:"malformed,omitempty"`
}

type carrier struct {
	channel *net.UnixConn
	saying  sync.Mutex
	files   *fileCache
	tftp    *tftpEngine
	bodies  []*bodyEngine
}

func (c *carrier) say(message any) {
	line, err := json.Marshal(message)
	if err != nil {
		panic(err) // our own types
	}
	c.saying.Lock()
	defer c.saying.Unlock()
	c.channel.Write(append(line, '\n')) // a parent that is gone is noticed by listen
}

func (c *carrier) end(how ending) {
	c.say(map[string]any{"end": how})
}

// listen takes orders until the parent is gone.
func (c *carrier) listen() error {
	in := &descriptorReader{channel: c.channel}
	lines := bufio.NewReaderSize(in, 64*1024)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			return err
		}
		var wrapped struct {
			Cmd string `json:"cmd"`
			Msg order  `json:"msg"`
			order
		}
		if err := json.NewDecoder(bytes.NewReader(line)).Decode(&wrapped); err != nil {
			return fmt.Errorf("an order that is no JSON: %w", err)
		}
		switch wrapped.Cmd {
		case "NODE_HANDLE":
			fd, there := in.take()
			c.say(map[string]string{"cmd": "NODE_HANDLE_ACK"})
			if !there || wrapped.Msg.Body == nil {
				return errors.New("a connection without an order, or an order without its connection")
			}
			c.engineFor(*wrapped.Msg.Body).begin(*wrapped.Msg.Body, fd)
		case "":
			switch {
			case wrapped.Tftp != nil:
				go c.tftp.begin(*wrapped.Tftp) // reads the file when it is new
			case wrapped.Body != nil:
				c.end(ending{ID: wrapped.Body.ID, How: "failed", Why: "its connection did not come along"})
			case wrapped.Cancel != nil:
				c.tftp.cancel(wrapped.Cancel.ID)
				for _, engine := range c.bodies {
					engine.cancel(wrapped.Cancel.ID)
				}
			}
		}
	}
}

// engineFor keeps all connections of one client on one engine, which is what shares out between clients.
func (c *carrier) engineFor(o bodyOrder) *bodyEngine {
	sum := uint32(2166136261)
	for _, b := range []byte(o.Client) {
		sum = (sum ^ uint32(b)) * 16777619
	}
	return c.bodies[sum%uint32(len(c.bodies))]
}

// descriptorReader reads the channel and keeps the descriptors that come along, in their order.
type descriptorReader struct {
	channel *net.UnixConn
	fds     []int
}

func (r *descriptorReader) Read(p []byte) (int, error) {
	control := make([]byte, unix.CmsgSpace(16*4))
	n, controlled, _, _, err := r.channel.ReadMsgUnix(p, control)
	if err != nil {
		return 0, err // n is -1 when the parent ended with something unread, and no reader may say that
	}
	if controlled > 0 {
		messages, parseErr := unix.ParseSocketControlMessage(control[:controlled])
		if parseErr != nil {
			return n, parseErr
		}
		for _, message := range messages {
			if fds, rightsErr := unix.ParseUnixRights(&message); rightsErr == nil {
				r.fds = append(r.fds, fds...)
			}
		}
	}
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	return n, err
}

func (r *descriptorReader) take() (int, bool) {
	if len(r.fds) == 0 {
		return 0, false
	}
	fd := r.fds[0]
	r.fds = r.fds[1:]
	return fd, true
}

// poller is an epoll instance that other threads can wake.
type poller struct {
	epoll int
	wake  int
}

func newPoller() (poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return poller{}, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return poller{}, err
	}
	p := poller{epoll, wake}
	return p, p.add(wake, unix.EPOLLIN)
}

func (p poller) add(fd int, events uint32) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (p poller) nudge() {
	unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// wait fills events; timeout in milliseconds, -1 for none. The wake-up itself is read and not reported.
//
// A short wait is kept from Go's scheduler: to give its processor back and to get one again costs more than what most waits end
// with. There are processors enough, see carry.
func (p poller) wait(events []unix.EpollEvent, timeout int) []unix.EpollEvent {
	var n int
	if timeout < 0 {
		var err error
		if n, err = unix.EpollWait(p.epoll, events, timeout); err != nil {
			return nil // interrupted
		}
	} else {
		r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
			uintptr(timeout), 0, 0)
		if errno != 0 {
			return nil
		}
		n = int(r)
	}
	for i, event := range events[:n] {
		if int(event.Fd) == p.wake {
			var counter [8]byte
			unix.Read(p.wake, counter[:])
			events[i] = events[n-1]
			return events[:n-1]
		}
	}
	return events[:n]
}
