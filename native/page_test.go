package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestMappingsOfMaps(t *testing.T) {
	maps := "00400000-00401000 r-xp 00000000 08:01 1 /opt/kube/kubernetes\n" +
		"c000000000-c080000000 rw-p 00000000 00:00 0 \n" +
		"7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n" +
		"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n" +
		"7ffc00100000-7ffc00104000 r--p 00000000 00:00 0 [vvar]\nnonsense\n"
	want := []mapping{
		{addressRange{0x400000, 0x401000}, true, false},
		{addressRange{0xc000000000, 0xc080000000}, false, true},
		{addressRange{0x7ffc00000000, 0x7ffc00021000}, false, true},
	}
	if got := mappingsOf(maps); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := want[1].parts(1 << 30); !reflect.DeepEqual(got, []addressRange{{0xc000000000, 0xc040000000}, {0xc040000000, 0xc080000000}}) {
		t.Errorf("%x", got)
	}
}

func TestSlotOfAWordOfPagemap(t *testing.T) {
	for word, want := range map[uint64]struct {
		slot      uint64
		isSwapped bool
	}{
		1<<62 | 7<<5 | 2: {2<<50 | 7, true},
		// by a kernel that marks guards, of a page that was never written
		0x440000000000009f: {31<<50 | 4, false},
		1<<63 | 7<<5:       {7, false},
	} {
		if slot, isSwapped := slotOf(word); slot != want.slot || isSwapped != want.isSwapped {
			t.Errorf("%x: %x %v", word, slot, isSwapped)
		}
	}
}

// What is mapped and never written is nothing to bring back, however much it is.
func TestAVastMappingIsPassedOver(t *testing.T) {
	const vast = 8 << 40
	memory, err := unix.Mmap(-1, 0, vast, unix.PROT_READ, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(memory)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, _, err := (&member{pid: os.Getpid()}).swapped(mappingsOf(string(maps))); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestRunsOfPages(t *testing.T) {
	page := func(nth uint64) swappedPage { return swappedPage{at: nth * pageSize} }
	want := []addressRange{{3 * pageSize, 5 * pageSize}, {9 * pageSize, 10 * pageSize}, {5 * pageSize, 6 * pageSize}}
	if got := runsOf([]swappedPage{page(3), page(4), page(9), page(5)}); !reflect.DeepEqual(got, want) {
		t.Errorf("%x", got)
	}
	if got := runsOf(nil); got != nil {
		t.Errorf("%x", got)
	}
}

// ownSwap is a swap file of the test's, which is gone with it.
func ownSwap(t *testing.T, bytes int64) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("swap is root's")
	}
	file := filepath.Join(t.TempDir(), "swap")
	if output, err := native("swap", "on", "plain", file, strconv.FormatInt(bytes, 10)).CombinedOutput(); err != nil {
		if strings.Contains(string(output), "operation not permitted") || strings.Contains(string(output), "invalid argument") {
			t.Skipf("no swap file can be used here: %s", output)
		}
		t.Fatalf("%v %s", err, output)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || info.Size() != bytes {
		t.Errorf("%v %v", info, err)
	}
	t.Cleanup(func() {
		if output, err := native("swap", "off", file).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, output)
		}
		if swaps, _ := os.ReadFile("/proc/swaps"); strings.Contains(string(swaps), file) {
			t.Error("it is still in use")
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("the file stays")
		}
	})
}

func TestPageOutAndInByASwapOfOurs(t *testing.T) {
	ownSwap(t, 64<<20)
	sleeper := start(t, exec.Command("/bin/sh", "-c", "exec sleep 600"))
	pid, _, _ := strings.Cut(sleeper, ":")
	before := statusKiB(t, pid, "RssAnon")
	// The kernel passes by pages that another processor is still adding to its lists: they go when asked again.
	for deadline := time.Now().Add(10 * time.Second); ; {
		if output, err := native("page", "out", sleeper, "4194305:1", pid+":1").CombinedOutput(); err != nil || strings.TrimSpace(string(output)) == "0" {
			t.Fatalf("%v %s", err, output)
		}
		anon, swapped := statusKiB(t, pid, "RssAnon"), statusKiB(t, pid, "VmSwap")
		if anon < before && swapped > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d KiB of %d are still there, %d in swap", anon, before, swapped)
		}
	}
	n, _ := strconv.Atoi(pid)
	here := &member{pid: n}
	mapped, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	ofFiles, others, err := here.swapped(mappingsOf(string(mapped)))
	if err != nil || len(ofFiles) == 0 || len(others) == 0 {
		t.Errorf("in swap are %d pages of its global variables and %d others (%v)", len(ofFiles), len(others), err)
	}
	noted := filepath.Join(t.TempDir(), "needed")
	firstOfOthers := fmt.Sprintf("%s %x-%x\n", sleeper, others[0].at, others[0].at+pageSize)
	if err := os.WriteFile(noted, []byte(firstOfOthers), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := native("page", "in", "--needed", noted, sleeper).CombinedOutput()
	if err != nil || strings.TrimSpace(string(output)) != strconv.FormatUint(pageSize, 10) {
		t.Errorf("of the one page that is noted: %v %s", err, output)
	}
	output, err = native("page", "in", sleeper).CombinedOutput()
	if back, _ := strconv.Atoi(strings.TrimSpace(string(output))); err != nil || back == 0 {
		t.Errorf("%v %s", err, output)
	}
	if left, _, err := here.swapped(mappingsOf(string(mapped))); err != nil || len(left) > 0 {
		t.Errorf("%x are in swap still (%v)", left, err)
	}
	if output, err := native("page", "note", noted, sleeper, "4194305:1").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	notes := readNote(noted)
	if len(notes) != 1 || len(within(slices.Clone(ofFiles), notes[sleeper])) != len(ofFiles) {
		t.Errorf("%x: its global variables are there, at %x", notes, ofFiles)
	}
	missing := len(ofFiles)
	for deadline := time.Now().Add(10 * time.Second); missing > 0 && time.Now().Before(deadline); {
		if output, err := native("page", "out", "--needed", noted, sleeper).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, output)
		}
		again, _, err := here.swapped(mappingsOf(string(mapped)))
		if err != nil {
			t.Fatal(err)
		}
		missing = len(ofFiles) - len(within(again, runsOf(ofFiles)))
	}
	if missing > 0 {
		t.Errorf("%d of %x are not out again", missing, ofFiles)
	}
}

const heldPages = 4096

// holdMemory is a program of the test's: it fills memory, says where, and says for each line it reads whether all is as it was.
func holdMemory() {
	memory, err := unix.Mmap(-1, 0, heldPages*int(pageSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	for i := range memory {
		memory[i] = byte(i*7 + i/int(pageSize))
	}
	fmt.Println(uintptr(unsafe.Pointer(&memory[0])))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "needs" {
			sum := 0
			for i := range heldPages {
				if page := i * int(pageSize); isNeeded(uint64(uintptr(unsafe.Pointer(&memory[page])))) {
					sum += int(memory[page])
				}
			}
			fmt.Println(sum)
			continue
		}
		whole := true
		for i := range memory {
			whole = whole && memory[i] == byte(i*7+i/int(pageSize))
		}
		fmt.Println(whole)
	}
}

// isNeeded: every fourth page is.
func isNeeded(at uint64) bool { return at/pageSize%4 == 0 }

func TestWhatIsNeededLiesTogetherAnew(t *testing.T) {
	ownSwap(t, 128<<20)
	holder := exec.Command(os.Args[0])
	holder.Env = []string{"IRONWRIGHT_HOLDS_MEMORY=1"}
	holder.Stderr = os.Stderr
	asks, _ := holder.StdinPipe()
	said, _ := holder.StdoutPipe()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer asks.Close()
	lines := bufio.NewScanner(said)
	next := func() string { lines.Scan(); return lines.Text() }
	base, err := strconv.ParseUint(next(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", holder.Process.Pid))
	ticket := fmt.Sprintf("%d:%s", holder.Process.Pid, startTicksOf(string(stat)))
	member := &member{pid: holder.Process.Pid}
	all := []mapping{{addressRange: addressRange{base, base + heldPages*pageSize}, writable: true}}
	// where what is needed lies, and in how many pieces, of each swap there is
	needed := func() (pages []swappedPage, pieces int) {
		_, swapped, err := member.swapped(all)
		if err != nil {
			t.Fatal(err)
		}
		var slots []uint64
		for _, page := range swapped {
			if isNeeded(page.at) {
				pages, slots = append(pages, page), append(slots, page.slot)
			}
		}
		slices.Sort(slots)
		for i, slot := range slots {
			if i == 0 || slots[i-1]+1 != slot {
				pieces++
			}
		}
		return pages, pieces
	}
	pageTo := func(args ...string) {
		t.Helper()
		if output, err := native(append(append([]string{"page"}, args...), ticket)...).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, output)
		}
	}
	// again and again, for others swap too: who lays hold of a page just then keeps its place for it
	eventually := func(done func(pages, pieces int) bool, args ...string) int {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			pageTo(args...)
			pages, pieces := needed()
			if done(len(pages), pieces) {
				return pieces
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v: %d pages in %d pieces", args, len(pages), pieces)
			}
		}
	}
	isOut := func(pages, _ int) bool { return pages == heldPages/4 }
	scattered := eventually(isOut, "out")
	pages, _ := needed()
	text := ticket
	for _, run := range runsOf(pages) {
		text += fmt.Sprintf(" %x-%x", run.from, run.to)
	}
	note := filepath.Join(t.TempDir(), "needed")
	if err := os.WriteFile(note, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// read, as by one who goes on, it keeps its place
	if fmt.Fprintln(asks, "needs"); next() == "" {
		t.Fatal("it does not read")
	}
	if pages, _ := needed(); len(pages) > 0 {
		t.Errorf("%d are in swap alone", len(pages))
	}
	eventually(func(pages, pieces int) bool { return isOut(pages, pieces) && pieces <= scattered/4 }, "anew", "--needed", note)
	if fmt.Fprintln(asks, "?"); next() != "true" {
		t.Error("what it holds has changed")
	}
}

func TestANoteThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "needed")
	if notes := readNote(file); notes != nil {
		t.Errorf("%v", notes)
	}
	if err := os.WriteFile(file, []byte("1:2 zz-3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if notes := readNote(file); notes != nil {
		t.Errorf("%v", notes)
	}
	ranges := []addressRange{{2 * pageSize, 4 * pageSize}, {7 * pageSize, 8 * pageSize}}
	var pages []swappedPage
	for nth := range uint64(9) {
		pages = append(pages, swappedPage{at: nth * pageSize})
	}
	if got := runsOf(within(pages, ranges)); !reflect.DeepEqual(got, ranges) {
		t.Errorf("%x", got)
	}
}

func statusKiB(t *testing.T, pid, field string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%s/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(field + `:\s+(\d+) kB`).FindStringSubmatch(string(status))
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

func TestSwapAndPageRefuseWhatTheyCannotDo(t *testing.T) {
	for says, args := range map[string][]string{
		"is not a size":                {"swap", "on", "plain", "/tmp/x", "1"},
		"want on plain|encrypted|zram": {"swap", "on", "/tmp/x", "1048576"},
		"want out|in|anew":             {"page", "away", "1:1"},
		"want PID:STARTTICKS":          {"page", "out", "1"},
		"/no/such/dir: no such":        {"swap", "on", "plain", "/no/such/dir/swap", "1048576"},
		"NAME, or usage NAME…":         {"cgroup", "remove", "../x"},
		"no such thing to do: destroy": {"cgroup", "destroy", "x"},
	} {
		if output, err := native(args...).CombinedOutput(); err == nil || !strings.Contains(string(output), says) {
			t.Errorf("%v: %v %s", args, err, output)
		}
	}
}
