package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// place is where a tenant's process runs, and as whom.
type place struct {
	name     string
	uid, gid int
	limits   limits
	// join is a live process of the cell; without it the network namespace is new.
	join    *member
	listen  *doorstep
	views   []view
	dir     string
	command []string
}

// member is a process that is known by more than its number, as the supervisor records it.
type member struct {
	pid        int
	startTicks string
}

// view is one thing of the host that the cell sees.
type view struct {
	source, target string
	writable       bool
}

// cell becomes the given command in a place of its own: its cgroup, a network namespace with a loopback alone, a root file system
// that holds what it was given and nothing else of the host, a user without rights.
//
//	ironwright-native cell --name NAME --uid N --gid N [--join PID:STARTTICKS] [--listen SOCKET=GID] [--dir PATH] [--cpu MILLICORES]
//	    [--memory BYTES] [--pids N] [--read-only SOURCE=TARGET]… [--writable SOURCE=TARGET]… -- COMMAND…
//
// It stays the same process throughout, so that who started it goes on knowing it. Where any step fails nothing is run, and the
// message begins with the step.
func cell(args []string) error {
	p, err := parseCell(args)
	if err != nil {
		return err
	}
	// namespaces and rights are the thread's; the thread that execs becomes the process
	runtime.LockOSThread()
	// what is made on the way to the view is root's, and the cell's user has to pass by it
	umask := unix.Umask(0o022)
	steps := []struct {
		name string
		do   func() error
	}{
		// first, while descriptor 3 is nobody's
		{"listen", p.listen.open},
		{"cgroup", func() error { return enterCgroup(p.name, p.limits) }},
		{"network namespace", func() error { return enterNetwork(p.join, p.uid) }},
		{"mount view", func() error { return enterView(p) }},
		{"rights", func() error { return dropRights(p.uid, p.gid) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	unix.Umask(umask)
	err = syscall.Exec(p.command[0], p.command, os.Environ())
	return fmt.Errorf("exec %s: %w", p.command[0], err)
}

var cellName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func parseCell(args []string) (*place, error) {
	p := &place{dir: "/"}
	number := func(text string, least int64) (int64, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < least {
			return 0, fmt.Errorf("%q is not a number from %d on", text, least)
		}
		return n, nil
	}
	for len(args) > 0 && args[0] != "--" {
		if len(args) < 2 {
			return nil, fmt.Errorf("%s wants a value", args[0])
		}
		flag, value := args[0], args[1]
		var n int64
		var err error
		switch flag {
		case "--name":
			p.name = value
		case "--uid":
			n, err = number(value, 1)
			p.uid = int(n)
		case "--gid":
			n, err = number(value, 1)
			p.gid = int(n)
		case "--cpu":
			p.limits.cpuMillis, err = number(value, 1)
		case "--memory":
			p.limits.memoryBytes, err = number(value, 1)
		case "--pids":
			p.limits.pids, err = number(value, 1)
		case "--join":
			p.join, err = parseMember(value)
		case "--listen":
			p.listen, err = parseDoorstep(value)
		case "--dir":
			p.dir = value
		case "--read-only", "--writable":
			var one view
			one, err = parseView(value)
			one.writable = flag == "--writable"
			p.views = append(p.views, one)
		default:
			return nil, fmt.Errorf("no such flag: %s", flag)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		args = args[2:]
	}
	switch {
	case len(args) < 2:
		return nil, errors.New("no command after --")
	case !cellName.MatchString(p.name):
		return nil, fmt.Errorf("--name %q: want letters, digits, dots, dashes, underscores", p.name)
	case p.uid == 0 || p.gid == 0:
		return nil, errors.New("--uid and --gid are missing: nobody is root in a cell")
	case !filepath.IsAbs(args[1]) || !filepath.IsAbs(p.dir):
		return nil, errors.New("the command and --dir are absolute paths")
	}
	p.command = args[1:]
	return p, nil
}

func (m *member) ticket() string {
	return fmt.Sprintf("%d:%s", m.pid, m.startTicks)
}

func parseMember(text string) (*member, error) {
	first, ticks, found := strings.Cut(text, ":")
	pid, err := strconv.Atoi(first)
	if !found || err != nil || pid <= 0 || ticks == "" {
		return nil, fmt.Errorf("%q: want PID:STARTTICKS", text)
	}
	return &member{pid, ticks}, nil
}

func parseView(text string) (view, error) {
	source, target, found := strings.Cut(text, "=")
	clean := filepath.Clean(target)
	reserved := []string{"/", "/dev", "/etc", "/proc", "/tmp"}
	if !found || !filepath.IsAbs(source) || clean != target || !filepath.IsAbs(target) || slices.Contains(reserved, target) {
		return view{}, fmt.Errorf("%q: want SOURCE=TARGET, both absolute, TARGET none of %s", text, strings.Join(reserved, " "))
	}
	return view{source: source, target: target}, nil
}

// enterNetwork joins the namespace of a member of the cell, or makes one with nothing but a loopback.
func enterNetwork(join *member, uid int) error {
	if join == nil {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return bringUpLoopback()
	}
	namespace, err := join.openNetwork(uid)
	if err != nil {
		return fmt.Errorf("process %d: %w", join.pid, err)
	}
	defer unix.Close(namespace)
	if err := refuseOwn(namespace); err != nil {
		return fmt.Errorf("process %d: %w", join.pid, err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := refuseRoads(); err != nil {
		return fmt.Errorf("process %d: %w", join.pid, err)
	}
	return nil
}

// openNetwork opens the network namespace of exactly this process. Its directory in /proc stays the process' own, also when its number
// is given to another.
func (m *member) openNetwork(uid int) (int, error) {
	dir, err := unix.Open(fmt.Sprintf("/proc/%d", m.pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("is gone: %w", err)
	}
	defer unix.Close(dir)
	stat, err := readAt(dir, "stat")
	if err != nil {
		return 0, fmt.Errorf("is gone: %w", err)
	}
	if startTicksOf(stat) != m.startTicks {
		return 0, errors.New("is another one by now")
	}
	status, err := readAt(dir, "status")
	if err != nil {
		return 0, fmt.Errorf("is gone: %w", err)
	}
	if owner := regexp.MustCompile(`(?m)^Uid:\t(\d+)`).FindStringSubmatch(status); owner == nil || owner[1] != strconv.Itoa(uid) {
		return 0, errors.New("is not a process of this cell's user")
	}
	return unix.Openat(dir, "ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func readAt(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buffer := make([]byte, 8192)
	n, err := unix.Read(fd, buffer)
	return string(buffer[:max(n, 0)]), err
}

// refuseOwn: what is in the network of whoever starts cells is in none.
func refuseOwn(namespace int) error {
	var ours, theirs unix.Stat_t
	if err := unix.Fstat(namespace, &theirs); err != nil {
		return err
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &ours); err != nil {
		return err
	}
	if ours.Dev == theirs.Dev && ours.Ino == theirs.Ino {
		return errors.New("is in the host's own network namespace")
	}
	return nil
}

// refuseRoads: a cell's network leads nowhere. Interfaces that the kernel puts into each namespace are down.
func refuseRoads() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, one := range interfaces {
		if one.Flags&net.FlagUp != 0 && one.Flags&net.FlagLoopback == 0 {
			return fmt.Errorf("is in a network with the interface %s", one.Name)
		}
	}
	return nil
}

// largestFile: nobody in a cell writes more into one.
const largestFile = 1 << 30

// dropRights leaves a user without groups, without capabilities, and without a way to any by what it executes. For the calling thread.
func dropRights(uid, gid int) error {
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: largestFile, Max: largestFile}); err != nil {
		return fmt.Errorf("size of files: %w", err)
	}
	for capability := uintptr(0); ; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			if err == unix.EINVAL && capability > 0 {
				break // capabilities(7): beyond the last one the kernel knows
			}
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return fmt.Errorf("setgid: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return fmt.Errorf("setuid: %w", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}
