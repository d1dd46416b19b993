package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	membersFor  = 5 * time.Second
	membersPoll = 2 * time.Millisecond
)

// members are the processes in a group, whatever sessions and parents they have. None where there is no group.
func (c cgroup) members(name string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(c.dir("pids", name), "cgroup.procs"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 0 {
			return nil, fmt.Errorf("cgroup.procs holds %q", field)
		}
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// signal reaches all who are in the group now, and nobody who has a number of one of them by the time it is sent.
func (c cgroup) signal(name string, signal unix.Signal) error {
	before, err := c.members(name)
	if err != nil {
		return err
	}
	held := map[int]int{}
	for _, pid := range before {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			held[pid] = fd
			defer unix.Close(fd)
		}
	}
	still, err := c.members(name)
	if err != nil {
		return err
	}
	for _, pid := range still {
		fd, known := held[pid]
		if !known {
			continue
		}
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && err != unix.ESRCH {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return nil
}

// kill ends all of it. Version 2 has it in one write, from Linux 5.14 on; else it is done until nobody is left who could fork.
func (c cgroup) kill(name string) error {
	atOnce := errors.New("not by version 1")
	if c["pids"].v2 {
		atOnce = writeCgroup(filepath.Join(c.dir("pids", name), "cgroup.kill"), "1")
	}
	var seen []int
	for until := time.Now().Add(membersFor); ; time.Sleep(membersPoll) {
		pids, err := c.members(name)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			// one that is ending is in no list any more, and has its files still
			seen = slices.DeleteFunc(seen, hasEnded)
			if pids = seen; len(seen) == 0 {
				return nil
			}
		}
		seen = slices.Compact(slices.Sorted(slices.Values(append(seen, pids...))))
		if time.Now().After(until) {
			return fmt.Errorf("%d of its processes do not end, %d for one", len(pids), pids[0])
		}
		if atOnce == nil {
			continue
		}
		if err := c.signal(name, unix.SIGKILL); err != nil {
			return err
		}
	}
}

// stop is done when twice the same processes are found, and none of them runs: then nobody was left to fork another.
func (c cgroup) stop(name string) error {
	var before []int
	for until := time.Now().Add(membersFor); ; time.Sleep(membersPoll) {
		pids, err := c.members(name)
		if err != nil {
			return err
		}
		running := slices.IndexFunc(pids, func(pid int) bool { return !isStopped(pid) })
		switch {
		case len(pids) == 0 || running < 0 && slices.Equal(pids, before):
			return nil
		case time.Now().After(until):
			return fmt.Errorf("%d processes do not stop, %d for one", len(pids), pids[max(running, 0)])
		}
		if before = pids; running >= 0 {
			before = nil
		}
		// each round: a first thread that ended looks so, whatever its process' others do
		if err := c.signal(name, unix.SIGSTOP); err != nil {
			return err
		}
	}
}

// isStopped, or gone; it reads the state, proc_pid_stat(5): stopped, by a signal or a tracer, or ended.
func isStopped(pid int) bool { return isIn(pid, "TtZX") }

func hasEnded(pid int) bool { return isIn(pid, "ZX") }

func isIn(pid int, states string) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return len(fields) > 0 && strings.Contains(states, fields[0])
}
