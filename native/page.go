package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// page pushes what processes hold in memory out to swap, or brings it back before they ask for it (process_madvise(2)).
//
//	ironwright-native page out|in PID:STARTTICKS…
//
// A process that is gone is passed over, and one that has its number by now as well. It prints the bytes that were advised.
func page(args []string) error {
	if len(args) < 2 || args[0] != "out" && args[0] != "in" {
		return errors.New("want out|in PID:STARTTICKS…")
	}
	var members []*member
	for _, text := range args[1:] {
		one, err := parseMember(text)
		if err != nil {
			return err
		}
		members = append(members, one)
	}
	advised := 0
	for _, one := range members {
		n, err := one.advise(args[0] == "out")
		if err != nil {
			return fmt.Errorf("process %d: %w", one.pid, err)
		}
		advised += n
	}
	fmt.Println(advised)
	return nil
}

func (m *member) advise(out bool) (int, error) {
	pidfd, err := unix.PidfdOpen(m.pid, 0)
	if err != nil {
		return 0, ifGone(err)
	}
	defer unix.Close(pidfd)
	// read after the descriptor was opened: it is the process the descriptor means, or a later one, which the ticks tell
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		return 0, ifGone(err)
	}
	if startTicksOf(string(stat)) != m.startTicks {
		return 0, nil
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", m.pid))
	if err != nil {
		return 0, ifGone(err)
	}
	advice := unix.MADV_WILLNEED
	if out {
		advice = unix.MADV_PAGEOUT
	}
	advised := 0
	for _, one := range rangesOf(string(maps), out) {
		n, err := processMadvise(pidfd, one, advice)
		switch err {
		case nil:
			advised += n
		case unix.ESRCH:
			return advised, nil
		case unix.ENOSYS, unix.EPERM:
			return advised, fmt.Errorf("process_madvise: %w", err)
		default: // a range that the kernel cannot move, one of locked memory say
		}
	}
	return advised, nil
}

func ifGone(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// startTicksOf reads field 22 of /proc/PID/stat; the second one is the name in parentheses and may hold anything: proc_pid_stat(5).
func startTicksOf(stat string) string {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

type addressRange struct{ from, to uint64 }

// rangesOf reads /proc/PID/maps, proc_pid_maps(5). What files give is brought back by need: it is shared, and often still there.
func rangesOf(maps string, withFiles bool) []addressRange {
	var ranges []addressRange
	for _, line := range strings.Split(maps, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[1], "r") {
			continue
		}
		if len(fields) > 5 && (strings.HasPrefix(fields[5], "[v") || strings.HasPrefix(fields[5], "/") && !withFiles) {
			continue
		}
		first, second, _ := strings.Cut(fields[0], "-")
		from, err := strconv.ParseUint(first, 16, 64)
		to, err2 := strconv.ParseUint(second, 16, 64)
		if err != nil || err2 != nil {
			continue
		}
		for ; from < to; from += largestAdvice {
			ranges = append(ranges, addressRange{from, min(to, from+largestAdvice)})
		}
	}
	return ranges
}

// largestAdvice: the kernel counts what it advised in an int.
const largestAdvice = 1 << 30
