package main

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// mostNoted keeps a note small, whatever its owner maps: the rest comes back when it is asked for.
const mostNoted = 256 << 20

// note writes which pages of processes are in memory, a line each: PID:STARTTICKS and ranges of addresses.
func note(file string, members []*member) error {
	var text strings.Builder
	noted := 0
	for _, one := range members {
		mappings, err := one.mappings()
		if err != nil {
			return err
		}
		pages, err := one.present(mappings)
		if err != nil {
			return fmt.Errorf("process %d: %w", one.pid, err)
		}
		text.WriteString(one.ticket())
		for _, run := range runsOf(pages) {
			fmt.Fprintf(&text, " %x-%x", run.from, run.to)
		}
		text.WriteByte('\n')
		noted += len(pages)
	}
	half := file + ".new"
	if err := os.WriteFile(half, []byte(text.String()), 0o600); err != nil {
		return err
	}
	fmt.Println(noted * int(pageSize))
	return os.Rename(half, file)
}

// readNote: of each process the ranges in their order. A note that is not there, or is none, is no hint, and no reason to fail.
func readNote(file string) map[string][]addressRange {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	notes := map[string][]addressRange{}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		for _, field := range fields[min(1, len(fields)):] {
			first, second, _ := strings.Cut(field, "-")
			from, err := strconv.ParseUint(first, 16, 64)
			to, err2 := strconv.ParseUint(second, 16, 64)
			if err != nil || err2 != nil {
				return nil
			}
			notes[fields[0]] = append(notes[fields[0]], addressRange{from, to})
		}
	}
	return notes
}

// present are the pages of its own that are in memory, by pagemap.
func (m *member) present(mappings []mapping) ([]swappedPage, error) {
	const isPresent, isOfFile = 1 << 63, 1 << 61
	var pages []swappedPage
	err := m.look(mappings, func(at, word uint64, _ mapping) bool {
		if word&isPresent != 0 && word&isOfFile == 0 {
			pages = append(pages, swappedPage{at: at})
		}
		return uint64(len(pages)) < mostNoted/pageSize
	})
	return pages, err
}

// within are those of the pages that are in one of the ranges, which are in their order.
func within(pages []swappedPage, ranges []addressRange) []swappedPage {
	return slices.DeleteFunc(pages, func(page swappedPage) bool {
		nth := sort.Search(len(ranges), func(i int) bool { return page.at < ranges[i].to })
		return nth == len(ranges) || page.at < ranges[nth].from
	})
}
