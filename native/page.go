package main

import (
	"cmp"
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
//	ironwright-native page out|in|anew [--needed FILE] PID:STARTTICKS…
//	ironwright-native page note FILE PID:STARTTICKS…
//
// `note` writes down which of their memory is there: of what was asleep, what it has needed since it was woken. With that, `out` begins
// with it, so that it lies together, and `in` brings back no more. What did not change keeps its place in swap: `anew` takes all of it back
// first, and gives it up, for a new place each. A process that is gone is passed over, and one that has its number by now as well; a note
// names whom it is of. It prints the bytes that were advised, or noted.
func page(args []string) error {
	if len(args) < 2 || !slices.Contains([]string{"out", "in", "anew", "note"}, args[0]) {
		return errors.New("want out|in|anew [--needed FILE] PID:STARTTICKS…, or note FILE PID:STARTTICKS…")
	}
	what, rest, file := args[0], args[1:], ""
	switch {
	case what == "note":
		file, rest = rest[0], rest[1:]
	case rest[0] == "--needed" && len(rest) > 1:
		file, rest = rest[1], rest[2:]
	}
	var members []*member
	for _, text := range rest {
		one, err := parseMember(text)
		if err != nil {
			return err
		}
		members = append(members, one)
	}
	if what == "note" {
		return note(file, members)
	}
	needed := readNote(file)
	advised := 0
	for _, one := range members {
		n, err := one.advise(what, needed[one.ticket()])
		if err != nil {
			return fmt.Errorf("process %d: %w", one.pid, err)
		}
		advised += n
	}
	fmt.Println(advised)
	return nil
}

// advise: of what is needed first, or alone; without a note of it, of all.
func (m *member) advise(what string, needed []addressRange) (int, error) {
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
	mappings, err := m.mappings()
	if err != nil || mappings == nil {
		return 0, err
	}
	switch what {
	case "in":
		return m.bringBack(pidfd, mappings, needed)
	case "anew":
		if err := m.giveUpPlaces(pidfd, mappings); err != nil {
			return 0, err
		}
	}
	return pushOut(pidfd, mappings, needed)
}

// mappings are none of a process that is gone.
func (m *member) mappings() ([]mapping, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", m.pid))
	if err != nil {
		return nil, ifGone(err)
	}
	return mappingsOf(string(maps)), nil
}

// pushOut goes by address, one range after the other: what lies together in memory does so on the disk.
func pushOut(pidfd int, mappings []mapping, needed []addressRange) (int, error) {
	ranges := slices.Clone(needed)
	for _, one := range mappings {
		ranges = append(ranges, one.parts(largestAdvice)...)
	}
	return adviseAll(pidfd, ranges, unix.MADV_PAGEOUT)
}

const (
	// readers at most: where a sleeper lies in many small pieces, reading them is work for a processor.
	readers = 4
	// adviseAtOnce and touchAtOnce are how many pages a reader takes at a time.
	adviseAtOnce = 1024
	touchAtOnce  = 16
)

// bringBack goes by place on the disk, where what fell asleep together lies together. It starts with what no advice is for: pages of
// its own in place of a file's, its global variables.
func (m *member) bringBack(pidfd int, mappings []mapping, needed []addressRange) (int, error) {
	ofFiles, others, err := m.swapped(mappings)
	if err != nil {
		return 0, err
	}
	if needed != nil {
		ofFiles, others = within(ofFiles, needed), within(others, needed)
	}
	var work []func() (int, error)
	for pages := range slices.Chunk(ofFiles, touchAtOnce) {
		work = append(work, func() (int, error) { return m.touch(pages), nil })
	}
	slices.SortFunc(others, bySlot)
	for pages := range slices.Chunk(others, adviseAtOnce) {
		work = append(work, func() (int, error) { return adviseAll(pidfd, runsOf(pages), unix.MADV_WILLNEED) })
	}
	var next, advised atomic.Int64
	failed := make(chan error, readers)
	var reading sync.WaitGroup
	for range min(readers, runtime.NumCPU()) {
		reading.Go(func() {
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
	reading.Wait()
	close(failed)
	return int(advised.Load()), <-failed
}

// swappedPage is one page in swap, and where there.
type swappedPage struct{ at, slot uint64 }

// bySlot: what fell asleep together lies together.
func bySlot(a, b swappedPage) int { return cmp.Compare(a.slot, b.slot) }

// mostLooked is how much of a process' address space is looked at, and mostInSwap how many of its pages count. Its owner may map what he
// likes, of which there is nothing, and this runs as root and beyond the limits of his cell.
const (
	mostLooked = 64 << 30
	mostInSwap = 16 << 30
)

// swapped are the pages in swap by pagemap: of writable mappings of files, and of others.
func (m *member) swapped(mappings []mapping) (ofFiles, others []swappedPage, err error) {
	err = m.look(mappings, func(at, word uint64, in mapping) bool {
		slot, isSwapped := slotOf(word)
		switch {
		case !isSwapped:
		case in.file:
			ofFiles = append(ofFiles, swappedPage{at, slot})
		default:
			others = append(others, swappedPage{at, slot})
		}
		return uint64(len(ofFiles)+len(others)) < mostInSwap/pageSize
	})
	return ofFiles, others, err
}

// look goes over the words of pagemap, the kernel's pagemap.rst, of what is a process' own, as long as there is interest and the limit is
// not reached: the rest comes back when it is asked for.
func (m *member) look(mappings []mapping, each func(at, word uint64, in mapping) bool) error {
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", m.pid))
	if err != nil {
		return ifGone(err)
	}
	defer pagemap.Close()
	looked, entries := uint64(0), make([]byte, largestLook/pageSize*pagemapEntry)
	for _, one := range mappings {
		if one.file && !one.writable {
			continue
		}
		for _, part := range one.parts(largestLook) {
			if looked += part.to - part.from; looked > mostLooked {
				return nil
			}
			n, _ := pagemap.ReadAt(entries[:(part.to-part.from)/pageSize*pagemapEntry], int64(part.from/pageSize*pagemapEntry))
			for i := 0; i+pagemapEntry <= n; i += pagemapEntry {
				if !each(part.from+uint64(i/pagemapEntry)*pageSize, binary.NativeEndian.Uint64(entries[i:]), one) {
					return nil
				}
			}
		}
	}
	return nil
}

const pagemapEntry = 8

// slotOf reads a word of pagemap: bit 62 is swapped, bit 58 a guard that is marked like it, bits 0 to 4 which swap, bits 5 to 54 where in it.
func slotOf(word uint64) (uint64, bool) {
	const isSwapped, isGuard, offset = 1 << 62, 1 << 58, 1<<50 - 1
	return word&31<<50 | word>>5&offset, word&isSwapped != 0 && word&isGuard == 0
}

var pageSize = uint64(os.Getpagesize())

// runsOf are the ranges of pages that follow one another.
func runsOf(pages []swappedPage) []addressRange {
	var runs []addressRange
	for _, page := range pages {
		if last := len(runs) - 1; last >= 0 && runs[last].to == page.at {
			runs[last].to += pageSize
		} else {
			runs = append(runs, addressRange{page.at, page.at + pageSize})
		}
	}
	return runs
}

// touch reads a byte of each page, which makes the kernel fetch it. It goes by number alone: of a process that has it by now it reads
// bytes that nobody looks at.
func (m *member) touch(pages []swappedPage) int {
	touched := 0
	for len(pages) > 0 {
		remote := make([]unix.RemoteIovec, len(pages))
		for i, page := range pages {
			remote[i] = unix.RemoteIovec{Base: uintptr(page.at), Len: 1}
		}
		bytes := make([]byte, len(pages))
		local := unix.Iovec{Base: &bytes[0]}
		local.SetLen(len(bytes))
		n, err := unix.ProcessVMReadv(m.pid, []unix.Iovec{local}, remote, 0)
		if err != nil && err != unix.EFAULT {
			return touched // gone, or not ours to read: they come back when they are asked for
		}
		n = max(n, 0)
		touched += n * int(pageSize)
		pages = pages[min(n+1, len(pages)):] // the one that cannot be read is passed over
	}
	return touched
}

// mostAtOnce pages the kernel lays hold of in one step of process_vm_writev(2), and more: of a range it would take the first ones alone.
const mostAtOnce = 512

// giveUpPlaces frees what a process' memory has in swap. A page that is there keeps its place, though it was read; one that comes back to be
// written to gives it up. So all of it goes out, and comes back like that: the kernel gets ready to write to each page, and then finds
// nothing that it could write. Of the contents nothing changes, whatever the process does meanwhile. Where it cannot be done, places stay.
func (m *member) giveUpPlaces(pidfd int, mappings []mapping) error {
	writable := slices.DeleteFunc(slices.Clone(mappings), func(one mapping) bool { return !one.writable })
	if _, err := pushOut(pidfd, writable, nil); err != nil {
		return err
	}
	ofFiles, others, err := m.swapped(writable)
	if err != nil {
		return err
	}
	slices.SortFunc(others, bySlot)
	runs := runsOf(others)
	if _, err := adviseAll(pidfd, runs, unix.MADV_WILLNEED); err != nil {
		return err
	}
	nothing, err := unix.Mmap(-1, 0, int(pageSize), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(nothing)
	for _, run := range append(runsOf(ofFiles), runs...) {
		for _, part := range run.parts(mostAtOnce * pageSize) {
			local := []unix.Iovec{{Base: &nothing[0], Len: 1}}
			remote := []unix.RemoteIovec{{Base: uintptr(part.from), Len: int(part.to - part.from)}}
			if _, err := unix.ProcessVMWritev(m.pid, local, remote, 0); err != unix.EFAULT {
				return nil
			}
		}
	}
	return nil
}

// adviseAll passes over a process that is gone, and over a range that the kernel cannot move, one of locked memory say.
func adviseAll(pidfd int, ranges []addressRange, advice int) (int, error) {
	advised := 0
	for _, one := range ranges {
		n, err := processMadvise(pidfd, one, advice)
		switch err {
		case nil:
			advised += n
		case unix.ENOSYS, unix.EPERM:
			return advised, fmt.Errorf("process_madvise: %w", err)
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

const (
	// largestAdvice: the kernel counts what it advised in an int.
	largestAdvice = 1 << 30
	// largestLook is how much of the address space is looked at at once; of each page there are eight bytes to read.
	largestLook = 64 << 20
)
