package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Turns are clients', not connections': who opens many takes no more of an engine than who has one.
func TestAClientWithManyConnectionsGetsOneClientsPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	poll, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	// the test takes its turns, and says which connections have room
	e := &bodyEngine{poll: poll, running: map[int]*body{}, queues: map[string][]*body{}}
	readers := map[*body]int{}
	connect := func(client string) *body {
		fd, reader := connection(t)
		for _, one := range []int{fd, reader} {
			if err := unix.SetNonblock(one, true); err != nil {
				t.Fatal(err)
			}
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		b := &body{order: bodyOrder{Path: path, Length: 1 << 30, Client: client}, fd: fd, file: file}
		e.running[fd], readers[b] = b, reader
		return b
	}
	var greedy []*body
	for range 12 {
		greedy = append(greedy, connect("10.77.0.9"))
	}
	modest := connect("10.77.0.10")

	buffer := make([]byte, 1<<20)
	for range 60 {
		for b, reader := range readers {
			for n := 1; n > 0; {
				n, _ = unix.Read(reader, buffer)
			}
			e.queue(b)
		}
		e.turn()
	}
	var taken int64
	for _, b := range greedy {
		taken += b.moved
	}
	t.Logf("modest %d bytes, greedy %d", modest.moved, taken)
	if share := float64(modest.moved) / float64(modest.moved+taken); share < 0.4 {
		t.Errorf("the client with one connection got %.2f of all, want a half", share)
	}
}
