package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

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
	if out {
		return pushOut(pidfd, mappingsOf(string(maps)))
	}
	return m.bringBack(pidfd, mappingsOf(string(maps)))
}

// pushOut goes by address, one range after the other: what lies together in memory does so on the disk.
func pushOut(pidfd int, mappings []mapping) (int, error) {
	advised := 0
	for _, one := range mappings {
		for _, part := range one.parts(largestAdvice) {
			n, err := advise(pidfd, part, unix.MADV_PAGEOUT)
			if err != nil {
				return advised, err
			}
			advised += n
		}
	}
	return advised, nil
}

const (
	// atOnce is how much is brought back by one call, of so many at a time: reading many small pieces is work for a processor.
	atOnce       = 4 << 20
	mostAtATime  = 4
	pagesAtATime = 16
)

// bringBack starts with what no advice is for: pages of its own in place of a file's, its global variables.
func (m *member) bringBack(pidfd int, mappings []mapping) (int, error) {
	var work []func() (int, error)
	for pages := range slices.Chunk(m.swappedOfFiles(mappings), pagesAtATime) {
		work = append(work, func() (int, error) { return m.touch(pages), nil })
	}
	for _, one := range mappings {
		if one.file {
			continue
		}
		for _, part := range one.parts(atOnce) {
			work = append(work, func() (int, error) { return advise(pidfd, part, unix.MADV_WILLNEED) })
		}
	}
	var next, advised atomic.Int64
	failed := make(chan error, mostAtATime)
	var workers sync.WaitGroup
	for range min(mostAtATime, runtime.NumCPU()) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(work)); i = next.Add(1) - 1 {
				n, err := work[i]()
				advised.Add(int64(n))
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	workers.Wait()
	close(failed)
	return int(advised.Load()), <-failed
}

// swappedOfFiles are the pages of writable mappings of files that are in swap; pagemap's bit 62, the kernel's pagemap.rst.
func (m *member) swappedOfFiles(mappings []mapping) []addressRange {
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", m.pid))
	if err != nil {
		return nil // they come back when they are asked for
	}
	defer pagemap.Close()
	const entry, swapped = 8, 1 << 62
	size := uint64(os.Getpagesize())
	var pages []addressRange
	for _, one := range mappings {
		if !one.file || !one.writable {
			continue
		}
		entries := make([]byte, (one.to-one.from)/size*entry)
		n, _ := pagemap.ReadAt(entries, int64(one.from/size*entry))
		for i := 0; i+entry <= n; i += entry {
			if binary.NativeEndian.Uint64(entries[i:])&swapped != 0 {
				at := one.from + uint64(i/entry)*size
				pages = append(pages, addressRange{at, at + size})
			}
		}
	}
	return pages
}

// touch reads a byte of each page, which makes the kernel fetch it.
func (m *member) touch(pages []addressRange) int {
	remote := make([]unix.RemoteIovec, len(pages))
	for i, page := range pages {
		remote[i] = unix.RemoteIovec{Base: uintptr(page.from), Len: 1}
	}
	bytes := make([]byte, len(pages))
	local := unix.Iovec{Base: &bytes[0]}
	local.SetLen(len(bytes))
	n, err := unix.ProcessVMReadv(m.pid, []unix.Iovec{local}, remote, 0)
	if err != nil {
		return 0 // gone, or not ours to read: they come back when they are asked for
	}
	return n * os.Getpagesize()
}

// advise is 0 for a process that is gone, and for a range that the kernel cannot move, one of locked memory say.
func advise(pidfd int, one addressRange, advice int) (int, error) {
	n, err := processMadvise(pidfd, one, advice)
	switch err {
	case nil:
		return n, nil
	case unix.ENOSYS, unix.EPERM:
		return 0, fmt.Errorf("process_madvise: %w", err)
	}
	return 0, nil
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

type mapping struct {
	addressRange
	file, writable bool
}

// mappingsOf reads /proc/PID/maps, proc_pid_maps(5): what can be read, but for what the kernel itself maps there.
func mappingsOf(maps string) []mapping {
	var mappings []mapping
	for _, line := range strings.Split(maps, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[1], "r") || len(fields) > 5 && strings.HasPrefix(fields[5], "[v") {
			continue
		}
		first, second, _ := strings.Cut(fields[0], "-")
		from, err := strconv.ParseUint(first, 16, 64)
		to, err2 := strconv.ParseUint(second, 16, 64)
		if err != nil || err2 != nil {
			continue
		}
		isFile := len(fields) > 5 && strings.HasPrefix(fields[5], "/")
		mappings = append(mappings, mapping{addressRange{from, to}, isFile, strings.HasPrefix(fields[1], "rw")})
	}
	return mappings
}

// parts are the range in pieces of at most so many bytes.
func (r addressRange) parts(size uint64) []addressRange {
	var parts []addressRange
	for from := r.from; from < r.to; from += size {
		parts = append(parts, addressRange{from, min(r.to, from+size)})
	}
	return parts
}

// largestAdvice: the kernel counts what it advised in an int.
const largestAdvice = 1 << 30
