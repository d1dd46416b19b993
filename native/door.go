package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// door carries bytes over the border of a tenant's cell, whose network namespace has a loopback and nothing else: what comes to a
// socket of the file system goes to the tenant's apiserver, and what the apiserver sends to its etcd goes to the shard's socket.
//
//	ironwright-native door --api-listen ADDRESS --api ADDRESS --etcd-listen ADDRESS --etcd ADDRESS
//
// An address is the path of a Unix socket or IP:PORT; one to listen on may be fd:N, a listener that was inherited. It reads nothing of what it carries. On SIGUSR1 it closes the connections to
// etcd and accepts no more of them until SIGUSR2; its name in /proc/PID/comm says what holds: door-open or door-shut.
func door(args []string) error {
	roads, err := parseDoor(args)
	if err != nil {
		return err
	}
	// the name is written by this: once it is not dumpable, its files in /proc are root's
	comm, err := os.OpenFile("/proc/self/comm", os.O_WRONLY, 0)
	if err == nil {
		defer comm.Close()
	}
	// others of its user neither trace it nor see what it has open
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	if err := bringUpLoopback(); err != nil {
		return fmt.Errorf("the loopback interface is down, and cannot be brought up: %w", err)
	}
	// it holds next to nothing, and one for each tenant of the host runs
	debug.SetGCPercent(20)
	d, err := newRelay(roads)
	if err != nil {
		return err
	}
	d.comm = comm
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for one := range signals {
			d.setShut(one == syscall.SIGUSR1)
		}
	}()
	return d.run()
}

// road is one listener and where its connections lead.
type road struct {
	from, to endpoint
	// closable is shut and opened by signals.
	closable bool
}

type endpoint struct {
	path string
	at   netip.AddrPort
	// inherited is the number of a listener, or 0.
	inherited int
}

func parseDoor(args []string) ([]road, error) {
	names := []string{"--api-listen", "--api", "--etcd-listen", "--etcd"}
	given := map[string]endpoint{}
	for ; len(args) > 0; args = args[2:] {
		if len(args) < 2 {
			return nil, fmt.Errorf("%s wants a value", args[0])
		}
		one, err := parseEndpoint(args[1])
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", args[0], args[1], err)
		}
		given[args[0]] = one
	}
	for _, name := range names {
		if _, there := given[name]; !there {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	if len(given) > len(names) {
		return nil, fmt.Errorf("there are no flags but %s", strings.Join(names, ", "))
	}
	for _, name := range []string{"--api", "--etcd"} {
		if given[name].inherited != 0 {
			return nil, fmt.Errorf("%s: a listener leads nowhere", name)
		}
	}
	return []road{
		{from: given["--api-listen"], to: given["--api"]},
		{from: given["--etcd-listen"], to: given["--etcd"], closable: true},
	}, nil
}

func parseEndpoint(text string) (endpoint, error) {
	if strings.HasPrefix(text, "/") {
		return endpoint{path: filepath.Clean(text)}, nil
	}
	if number, found := strings.CutPrefix(text, "fd:"); found {
		fd, err := strconv.Atoi(number)
		if err != nil || fd < firstFd {
			return endpoint{}, fmt.Errorf("want fd:N, N from %d on", firstFd)
		}
		return endpoint{inherited: fd}, nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Addr().Zone() != "" {
		return endpoint{}, errors.New("want the absolute path of a socket, or IP:PORT")
	}
	return endpoint{at: at}, nil
}

func (e endpoint) sockaddr() (int, unix.Sockaddr) {
	switch {
	case e.path != "":
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: e.path}
	case e.at.Addr().Unmap().Is4():
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(e.at.Port()), Addr: e.at.Addr().Unmap().As4()}
	default:
		return unix.AF_INET6, &unix.SockaddrInet6{Port: int(e.at.Port()), Addr: e.at.Addr().As16()}
	}
}

func (e endpoint) socket() (int, unix.Sockaddr, error) {
	family, address := e.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil && family != unix.AF_UNIX {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return fd, address, err
}

// listen leaves a Unix socket that its owner and its group, which the directory may give, can connect to.
func (e endpoint) listen() (int, error) {
	if e.inherited != 0 {
		if listens, err := unix.GetsockoptInt(e.inherited, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			return 0, errors.New("is not a listener")
		}
		unix.CloseOnExec(e.inherited)
		return e.inherited, unix.SetNonblock(e.inherited, true)
	}
	if info, err := os.Lstat(e.path); e.path != "" && err == nil && info.Mode().Type() == os.ModeSocket {
		if err := os.Remove(e.path); err != nil {
			return 0, err
		}
	}
	fd, address, err := e.socket()
	if err != nil {
		return 0, err
	}
	if e.path == "" {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	} else {
		defer unix.Umask(unix.Umask(0o117))
	}
	if err == nil {
		err = unix.Bind(fd, address)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

const (
	backlog = 511
	// aRead is the most that is read at once; one such buffer serves all connections.
	aRead = 64 << 10
	// acceptsAtOnce between two looks at what is connected.
	acceptsAtOnce = 64
	// retryAfter what the kernel had no room for: an accept without a descriptor, a listener whose queue is full.
	retryAfter = 20 * time.Millisecond
	// connectFor is how long a full queue at the other side is waited for.
	connectFor = 10 * time.Second
)

// relay carries bytes between pairs of sockets by one thread and one buffer. What a slow receiver leaves over is kept, and its
// sender not read until it is gone.
type relay struct {
	poll      poller
	listeners map[int]*doorListener
	ends      map[int]*doorEnd
	buffer    []byte
	// connecting waits for room in the queue of a Unix socket's listener, which epoll does not tell.
	connecting map[*doorEnd]time.Time
	shut       bool
	wantShut   atomic.Bool
	stopping   atomic.Bool
	// comm is the name of this process, to be written.
	comm *os.File
}

type doorListener struct {
	road   road
	fd     int
	paused bool
}

// doorEnd is one of the two sockets of a connection through the door.
type doorEnd struct {
	fd    int
	peer  *doorEnd
	road  *doorListener
	asked uint32
	// pending is what the peer sent and this end did not take yet.
	pending []byte
	// connected is false until connect(2) is done.
	connected bool
	// readDone: it will send no more. writeDone: it takes no more.
	readDone, writeDone bool
	closed              bool
}

func newRelay(roads []road) (*relay, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	r := &relay{
		poll: poll, listeners: map[int]*doorListener{}, ends: map[int]*doorEnd{}, buffer: make([]byte, aRead),
		connecting: map[*doorEnd]time.Time{},
	}
	for _, one := range roads {
		fd, err := one.from.listen()
		if err != nil {
			r.close()
			return nil, fmt.Errorf("%s: %w", one.from, err)
		}
		r.listeners[fd] = &doorListener{road: one, fd: fd}
		if err := poll.add(fd, unix.EPOLLIN); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (e endpoint) String() string {
	switch {
	case e.inherited != 0:
		return fmt.Sprintf("fd:%d", e.inherited)
	case e.path != "":
		return e.path
	}
	return e.at.String()
}

// setShut closes the closable roads, or opens them; it may be called from anywhere.
func (r *relay) setShut(shut bool) {
	r.wantShut.Store(shut)
	r.poll.nudge()
}

func (r *relay) stop() {
	r.stopping.Store(true)
	r.poll.nudge()
}

func (r *relay) run() error {
	defer r.close()
	r.tell()
	events := make([]unix.EpollEvent, 256)
	for !r.stopping.Load() {
		timeout := -1
		if r.mustRetry() {
			timeout = int(retryAfter.Milliseconds())
		}
		ready := r.poll.wait(events, timeout)
		for _, event := range ready {
			if end, there := r.ends[int(event.Fd)]; there {
				r.serve(end, event.Events)
			}
		}
		// only now: a new socket may get the number of one that was closed just above
		for _, event := range ready {
			if listener, there := r.listeners[int(event.Fd)]; there && !listener.paused {
				r.accept(listener)
			}
		}
		if want := r.wantShut.Load(); want != r.shut {
			r.shut = want
			r.applyShut()
			r.tell()
		}
		r.retry()
	}
	return nil
}

// tell names the process by its state: whoever shuts the door waits for that.
func (r *relay) tell() {
	name := "door-open"
	if r.shut {
		name = "door-shut"
	}
	r.comm.WriteString(name) // without /proc there is none, and nobody can look either
}

func (r *relay) applyShut() {
	if r.shut {
		for _, end := range r.ends {
			if end.road.road.closable {
				r.end(end)
			}
		}
	}
	for _, listener := range r.listeners {
		if listener.road.closable {
			r.pause(listener, r.shut)
		}
	}
}

func (r *relay) pause(listener *doorListener, paused bool) {
	if listener.paused == paused {
		return
	}
	listener.paused = paused
	if paused {
		unix.EpollCtl(r.poll.epoll, unix.EPOLL_CTL_DEL, listener.fd, nil)
	} else {
		r.poll.add(listener.fd, unix.EPOLLIN)
	}
}

func (r *relay) mustRetry() bool {
	if len(r.connecting) > 0 {
		return true
	}
	for _, listener := range r.listeners {
		if listener.paused && !(r.shut && listener.road.closable) {
			return true
		}
	}
	return false
}

func (r *relay) retry() {
	for end, until := range maps.Clone(r.connecting) {
		r.connect(end, until)
	}
	for _, listener := range r.listeners {
		if !(r.shut && listener.road.closable) {
			r.pause(listener, false)
		}
	}
}

func (r *relay) accept(listener *doorListener) {
	for range acceptsAtOnce {
		fd, _, err := unix.Accept4(listener.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default: // no descriptor or no memory is left
			r.pause(listener, true)
			return
		}
		out, _, err := listener.road.to.socket()
		if err != nil {
			unix.Close(fd)
			r.pause(listener, true)
			return
		}
		if listener.road.from.at.IsValid() {
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
		near := &doorEnd{fd: fd, road: listener, connected: true}
		far := &doorEnd{fd: out, road: listener, peer: near}
		near.peer = far
		r.ends[fd], r.ends[out] = near, far
		r.connect(far, time.Now().Add(connectFor))
	}
}

func (r *relay) connect(far *doorEnd, until time.Time) {
	delete(r.connecting, far)
	_, address := far.road.road.to.sockaddr()
	switch err := unix.Connect(far.fd, address); {
	case err == nil:
		far.connected = true
		r.ask(far)
		r.ask(far.peer)
	case err == unix.EINPROGRESS || err == unix.EINTR:
		r.ask(far)
	case err == unix.EAGAIN && time.Now().Before(until): // unix(7): the queue of the listener is full
		r.connecting[far] = until
	default:
		r.end(far)
	}
}

// serve does what an end is ready for.
func (r *relay) serve(end *doorEnd, events uint32) {
	if !end.connected {
		code, err := unix.GetsockoptInt(end.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code != 0 {
			r.end(end)
			return
		}
		end.connected = true
	}
	if len(end.pending) > 0 && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		r.write(end, nil)
	}
	if end.wantsRead() && events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		r.read(end)
	}
	if end.readDone && events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		end.pending, end.writeDone = nil, true
	}
	r.settle(end)
}

func (e *doorEnd) wantsRead() bool {
	return e.connected && e.peer.connected && !e.readDone && !e.peer.writeDone && len(e.peer.pending) == 0
}

func (r *relay) read(end *doorEnd) {
	n, err := unix.Read(end.fd, r.buffer)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil || n <= 0:
		end.readDone = true
	default:
		r.write(end.peer, r.buffer[:n])
	}
}

// write sends what is pending, or else bytes, and keeps what is not taken.
func (r *relay) write(end *doorEnd, bytes []byte) {
	kept := len(end.pending) > 0
	if kept {
		bytes = end.pending
	}
	n, err := unix.SendmsgN(end.fd, bytes, nil, nil, unix.MSG_NOSIGNAL)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		n = 0
	case err != nil:
		// it takes no more; what it sent before it went still reaches the other side
		end.pending, end.writeDone = nil, true
		return
	}
	switch rest := bytes[max(n, 0):]; {
	case len(rest) == 0:
		end.pending = nil
	case kept:
		end.pending = rest
	default:
		end.pending = append([]byte(nil), rest...)
	}
}

// settle passes on ends of streams, closes what is over, and asks epoll for what is next.
func (r *relay) settle(end *doorEnd) {
	for _, one := range []*doorEnd{end, end.peer} {
		if one.readDone && !one.peer.writeDone && len(one.peer.pending) == 0 {
			one.peer.writeDone = true
			unix.Shutdown(one.peer.fd, unix.SHUT_WR)
		}
	}
	// over for a direction: its reader takes no more, or was told that there is no more
	if end.writeDone && end.peer.writeDone && (end.readDone || end.peer.readDone) {
		r.end(end)
		return
	}
	r.ask(end)
	r.ask(end.peer)
}

// ask registers an end for what it waits for, and not at all when that is nothing: the kernel tells of a hang-up unasked, for ever.
func (r *relay) ask(end *doorEnd) {
	if end.closed {
		return
	}
	var events uint32
	if end.wantsRead() {
		events |= unix.EPOLLIN
	}
	if !end.connected || len(end.pending) > 0 {
		events |= unix.EPOLLOUT
	}
	if events == end.asked {
		return
	}
	var err error
	switch {
	case events == 0:
		err = unix.EpollCtl(r.poll.epoll, unix.EPOLL_CTL_DEL, end.fd, nil)
	case end.asked == 0:
		err = r.poll.add(end.fd, events)
	default:
		err = unix.EpollCtl(r.poll.epoll, unix.EPOLL_CTL_MOD, end.fd, &unix.EpollEvent{Events: events, Fd: int32(end.fd)})
	}
	end.asked = events
	if err != nil {
		r.end(end)
	}
}

// end closes both sockets of a connection.
func (r *relay) end(end *doorEnd) {
	for _, one := range []*doorEnd{end, end.peer} {
		if !one.closed {
			one.closed = true
			delete(r.ends, one.fd)
			delete(r.connecting, one)
			unix.Close(one.fd)
		}
	}
}

func (r *relay) close() {
	for _, end := range r.ends {
		r.end(end)
	}
	for fd := range r.listeners {
		unix.Close(fd)
	}
	unix.Close(r.poll.epoll)
	unix.Close(r.poll.wake)
}

// bringUpLoopback does nothing where it is up. A network namespace begins with a loopback that is down.
func bringUpLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	if request.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
