package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// doorstep is a Unix socket through which a cell is called, made by root where the cell cannot reach: what runs in the cell gets the
// listener alone, as descriptor 3, and cannot put anything else in its place.
type doorstep struct {
	socket string
	gid    int
}

func parseDoorstep(text string) (*doorstep, error) {
	at := strings.LastIndexByte(text, '=')
	if at < 0 || !filepath.IsAbs(text) || filepath.Clean(text[:at]) != text[:at] {
		return nil, fmt.Errorf("%q: want SOCKET=GID, SOCKET an absolute path", text)
	}
	gid, err := strconv.Atoi(text[at+1:])
	if err != nil || gid < 0 {
		return nil, fmt.Errorf("%q: want SOCKET=GID", text)
	}
	return &doorstep{text[:at], gid}, nil
}

// open uses no file of the runtime's: its poller would have descriptor 3.
func (d *doorstep) open() error {
	if d == nil {
		return nil
	}
	if err := d.makeDir(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Dir(d.socket), err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.Unlink(d.socket); err != nil && err != unix.ENOENT {
		return fmt.Errorf("%s: %w", d.socket, err)
	}
	before := unix.Umask(0o117)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: d.socket})
	unix.Umask(before)
	if err == nil {
		err = unix.Lchown(d.socket, 0, d.gid)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.socket, err)
	}
	return placeFromThree([]int{fd})
}

// makeDir leaves the socket's directory to root alone to write, and to the group to pass, whoever had it before.
func (d *doorstep) makeDir() error {
	path := filepath.Dir(d.socket)
	if err := unix.Mkdir(path, 0o700); err != nil && err != unix.EEXIST {
		return err
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := unix.Fchown(dir, 0, d.gid); err != nil {
		return err
	}
	return unix.Fchmod(dir, 0o750)
}
