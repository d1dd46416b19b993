package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// viewRoot is a directory every host has and no cell needs: the new root is put together on it, in a mount namespace of ours.
const viewRoot = "/sys"

const (
	rootSize = "1m"
	tmpSize  = "64m"
)

// cellDevices are all a cell has of /dev.
var cellDevices = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

// enterView makes what the cell was given its whole file system.
func enterView(p *place) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("cell")); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	// nothing that is mounted here is seen outside
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("/: %w", err)
	}
	views := p.views
	for _, device := range cellDevices {
		views = append(views, view{source: device, target: device})
	}
	sources := make([]int, len(views))
	for i, one := range views {
		// before the new root hides anything
		fd, err := unix.Open(one.source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", one.source, err)
		}
		defer unix.Close(fd)
		sources[i] = fd
	}
	const plain = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("cell", viewRoot, "tmpfs", plain, "mode=755,size="+rootSize); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for i, one := range views {
		if err := one.mount(sources[i]); err != nil {
			return fmt.Errorf("%s: %w", one.target, err)
		}
	}
	for _, dir := range []string{"/etc", "/proc", "/tmp"} {
		if err := os.MkdirAll(viewRoot+dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"hosts":  "127.0.0.1 localhost\n::1 localhost\n",
		"passwd": fmt.Sprintf("cell:x:%d:%d::/:/\n", p.uid, p.gid),
		"group":  fmt.Sprintf("cell:x:%d:\n", p.gid),
	} {
		if err := os.WriteFile(filepath.Join(viewRoot, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	own := fmt.Sprintf("mode=700,size=%s,uid=%d,gid=%d", tmpSize, p.uid, p.gid)
	if err := unix.Mount("tmp", viewRoot+"/tmp", "tmpfs", plain|unix.MS_NOEXEC, own); err != nil {
		return fmt.Errorf("/tmp: %w", err)
	}
	// a process sees those of its own user, and of the kernel nothing but them
	if err := unix.Mount("proc", viewRoot+"/proc", "proc", plain|unix.MS_NOEXEC, "hidepid=invisible,subset=pid"); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	if err := pivotTo(viewRoot); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|plain, ""); err != nil {
		return fmt.Errorf("read-only root: %w", err)
	}
	if err := unix.Chdir(p.dir); err != nil {
		return fmt.Errorf("%s: %w", p.dir, err)
	}
	return nil
}

// mount binds one thing, which fd holds open, to its place in the new root.
func (v view) mount(fd int) error {
	target := viewRoot + v.target
	var what unix.Stat_t
	if err := unix.Fstat(fd, &what); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	isDir := what.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else if err := os.WriteFile(target, nil, 0o644); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", fd), target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID)
	if !v.writable {
		flags |= unix.MS_RDONLY
	}
	if isDevice := what.Mode&unix.S_IFMT == unix.S_IFCHR; isDevice {
		flags |= unix.MS_NOEXEC
	} else {
		flags |= unix.MS_NODEV
	}
	return unix.Mount("", target, "", flags, "")
}

// pivotTo makes a mount the root and lets go of the old one: pivot_root(2), "pivot_root(".", ".")".
func pivotTo(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("the old root: %w", err)
	}
	return unix.Chdir("/")
}
