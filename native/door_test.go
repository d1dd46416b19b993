package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const soon = 20 * time.Second

// doorway is a door of a test: two roads, each to a listener of the test.
type doorway struct {
	relay     *relay
	api, etcd *net.UnixAddr
	apiServer net.Listener
	etcdSide  net.Listener
	etcdDoor  string
}

func openDoor(t *testing.T) doorway {
	t.Helper()
	dir := t.TempDir()
	api, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	etcdPath := filepath.Join(dir, "etcd.sock")
	etcd, err := net.Listen("unix", etcdPath)
	must(t, err)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	etcdDoor := free.Addr().String()
	free.Close()
	apiPath := filepath.Join(dir, "api.sock")
	roads, err := parseDoor([]string{"--api-listen", apiPath, "--api", api.Addr().String(), "--etcd-listen", etcdDoor, "--etcd", etcdPath})
	must(t, err)
	r, err := newRelay(roads)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- r.run() }()
	t.Cleanup(func() {
		r.stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(soon):
			t.Error("the door does not end")
		}
		api.Close()
		etcd.Close()
	})
	return doorway{
		relay: r, api: &net.UnixAddr{Name: apiPath, Net: "unix"}, etcd: &net.UnixAddr{Name: etcdPath, Net: "unix"},
		apiServer: api, etcdSide: etcd, etcdDoor: etcdDoor,
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// through connects a client by the door and returns both sides.
func (d doorway) through(t *testing.T) (client *net.UnixConn, server *net.TCPConn) {
	t.Helper()
	client, err := net.DialUnix("unix", nil, d.api)
	must(t, err)
	conn, err := d.apiServer.Accept()
	must(t, err)
	server = conn.(*net.TCPConn)
	client.SetDeadline(time.Now().Add(soon))
	server.SetDeadline(time.Now().Add(soon))
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func noise(seed int64, size int) []byte {
	all := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(all)
	return all
}

func TestTheDoorCarriesBothDirectionsAtOnceWhole(t *testing.T) {
	d := openDoor(t)
	var group sync.WaitGroup
	for i := range 8 {
		client, server := d.through(t)
		there, back := noise(int64(i), 3<<20+i), noise(int64(100+i), 2<<20+i)
		send := func(to interface {
			io.Writer
			CloseWrite() error
		}, all []byte) {
			defer group.Done()
			if _, err := to.Write(all); err != nil {
				t.Error(err)
			}
			to.CloseWrite()
		}
		receive := func(from io.Reader, want []byte) {
			defer group.Done()
			got, err := io.ReadAll(from)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
				t.Errorf("got %d bytes of %d, %v", len(got), len(want), err)
			}
		}
		group.Add(4)
		go send(client, there)
		go send(server, back)
		go receive(server, there)
		go receive(client, back)
	}
	group.Wait()
}

func TestAnEndOfOneDirectionLeavesTheOtherOpen(t *testing.T) {
	d := openDoor(t)
	client, server := d.through(t)
	_, err := client.Write([]byte("all of my question"))
	must(t, err)
	must(t, client.CloseWrite())
	question, err := io.ReadAll(server)
	must(t, err)
	if string(question) != "all of my question" {
		t.Fatalf("got %q", question)
	}
	for range 3 {
		_, err = server.Write([]byte("part "))
		must(t, err)
		part := make([]byte, 5)
		_, err = io.ReadFull(client, part)
		must(t, err)
	}
	server.Close()
	if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
		t.Fatalf("got %q, %v", rest, err)
	}
}

func TestAnAnswerBeforeAHangUpArrives(t *testing.T) {
	d := openDoor(t)
	client, server := d.through(t)
	// the server answers and goes, while the client still talks
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		for {
			if _, err := client.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}()
	io.ReadFull(server, make([]byte, 100_000))
	_, err := server.Write([]byte("too large"))
	must(t, err)
	must(t, server.CloseWrite())
	answer, _ := io.ReadAll(client)
	if string(answer) != "too large" {
		t.Fatalf("got %q", answer)
	}
	server.Close()
	<-flood
}

func TestASlowReceiverHoldsItsSenderAndNobodyElse(t *testing.T) {
	d := openDoor(t)
	client, server := d.through(t)
	// fill what the kernel and the door take; then writing blocks
	client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	sent, err := io.Copy(client, &endless{})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("took %d bytes that nobody reads: %v", sent, err)
	}
	if sent > 64<<20 {
		t.Fatalf("took %d bytes that nobody reads", sent)
	}
	other, otherServer := d.through(t)
	_, err = other.Write([]byte("ping"))
	must(t, err)
	_, err = io.ReadFull(otherServer, make([]byte, 4))
	must(t, err)

	// and the other direction of the held one goes on
	_, err = server.Write([]byte("hurry"))
	must(t, err)
	_, err = io.ReadFull(client, make([]byte, 5))
	must(t, err)

	must(t, client.CloseWrite())
	got, err := io.Copy(io.Discard, server)
	if err != nil || got != sent {
		t.Fatalf("got %d of %d bytes, %v", got, sent, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestWhoIsNotThereIsAHangUp(t *testing.T) {
	d := openDoor(t)
	d.apiServer.Close()
	client, err := net.DialUnix("unix", nil, d.api)
	must(t, err)
	defer client.Close()
	client.SetDeadline(time.Now().Add(soon))
	if n, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes, %v", n, err)
	}
}

func TestAHangUpOfOneSideReachesTheOtherAndNothingIsLeft(t *testing.T) {
	d := openDoor(t)
	before := openSockets(t)
	for range 20 {
		client, server := d.through(t)
		client.Close()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("the server read %v", err)
		}
		server.Close()

		client, server = d.through(t)
		server.SetLinger(0) // a reset
		server.Close()
		if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the client read %v", err)
		}
		client.Close()
	}
	waitFor(t, "all connections are closed", func() bool { return openSockets(t) == before })
}

func openSockets(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	count := 0
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			count++
		}
	}
	return count
}

func TestShutItHasNoConnectionsToEtcdAndTakesNone(t *testing.T) {
	d := openDoor(t)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", d.etcdDoor)
		must(t, err)
		conn.SetDeadline(time.Now().Add(soon))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	before := dial()
	etcd, err := d.etcdSide.Accept()
	must(t, err)
	etcd.SetDeadline(time.Now().Add(soon))
	apiClient, apiServer := d.through(t)

	d.relay.setShut(true)
	if _, err := etcd.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("etcd read %v", err)
	}
	if _, err := before.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the apiserver read %v", err)
	}
	held := dial()
	_, err = held.Write([]byte("hello"))
	must(t, err)
	d.etcdSide.(*net.UnixListener).SetDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := d.etcdSide.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("etcd saw a connection through a shut door: %v", err)
	}
	// calls go on
	_, err = apiClient.Write([]byte("x"))
	must(t, err)
	_, err = io.ReadFull(apiServer, make([]byte, 1))
	must(t, err)

	d.relay.setShut(false)
	d.etcdSide.(*net.UnixListener).SetDeadline(time.Now().Add(soon))
	etcd, err = d.etcdSide.Accept()
	must(t, err)
	etcd.SetDeadline(time.Now().Add(soon))
	got := make([]byte, 5)
	if _, err := io.ReadFull(etcd, got); err != nil || string(got) != "hello" {
		t.Fatalf("etcd read %q, %v", got, err)
	}
}

func TestItsSocketIsForOwnerAndGroupAndReplacesAnOldOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	for range 2 {
		fd, err := endpoint{path: path}.listen()
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o660 {
			t.Fatalf("mode %v", info.Mode())
		}
		defer os.NewFile(uintptr(fd), "listener").Close()
	}
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, []byte("a file"), 0o600))
	if _, err := (endpoint{path: path}).listen(); err == nil {
		t.Fatal("a file that is no socket was replaced")
	}
}

func TestAFullQueueOfAUnixListenerIsWaitedFor(t *testing.T) {
	d := openDoor(t)
	const many = 400 // more than the kernel queues for a listener by Go's own backlog where somaxconn is small
	var clients []net.Conn
	for range many {
		conn, err := net.Dial("tcp", d.etcdDoor)
		must(t, err)
		clients = append(clients, conn)
		defer conn.Close()
	}
	for range many {
		conn, err := d.etcdSide.Accept()
		must(t, err)
		defer conn.Close()
		go io.Copy(conn, conn)
	}
	for i, client := range clients {
		client.SetDeadline(time.Now().Add(soon))
		text := []byte(fmt.Sprintf("%08d", i))
		_, err := client.Write(text)
		must(t, err)
		got := make([]byte, 8)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestWhatIsNoDoorIsRefused(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--api-listen"},
		{"--api-listen", "/a", "--api", "127.0.0.1:1", "--etcd-listen", "127.0.0.1:2"},
		{"--api-listen", "relative", "--api", "127.0.0.1:1", "--etcd-listen", "127.0.0.1:2", "--etcd", "/e"},
		{"--api-listen", "fd:2", "--api", "127.0.0.1:1", "--etcd-listen", "127.0.0.1:2", "--etcd", "/e"},
		{"--api-listen", "/a", "--api", "fd:3", "--etcd-listen", "127.0.0.1:2", "--etcd", "/e"},
		{"--api-listen", "/a", "--api", "localhost:1", "--etcd-listen", "127.0.0.1:2", "--etcd", "/e"},
		{"--api-listen", "/a", "--api", "127.0.0.1:1", "--etcd-listen", "127.0.0.1:2", "--etcd", "/e", "--more", "/m"},
	} {
		if roads, err := parseDoor(args); err == nil {
			t.Errorf("%v gave %v", args, roads)
		}
	}
	roads, err := parseDoor([]string{"--api-listen", "/run/a", "--api", "[::1]:1", "--etcd-listen", "127.0.0.1:2", "--etcd", "/e/../e"})
	must(t, err)
	if roads[0].to.at != netip.MustParseAddrPort("[::1]:1") || roads[1].to.path != "/e" || roads[0].closable || !roads[1].closable {
		t.Fatalf("got %v", roads)
	}
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(soon); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not so within %v: %s", soon, what)
		}
	}
}
