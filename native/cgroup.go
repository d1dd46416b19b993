package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// limits of a cell; 0 is none.
type limits struct {
	cpuMillis, memoryBytes, pids int64
}

// cgroupParent holds the groups of all cells, at the top of each hierarchy that this process sees.
const cgroupParent = "ironwright"

// cpuPeriod is the kernel's own default, in microseconds.
const cpuPeriod = 100_000

// cgroupControllers a cell needs; cpuacct is one of version 1 alone, and only counts.
var cgroupControllers = []string{"cpu", "memory", "pids"}

const accounting = "cpuacct"

// hierarchy is where one controller is: a version 1 mount of its own, or the version 2 one.
type hierarchy struct {
	root string
	v2   bool
}

// cgroup is a cell's group: a directory in each hierarchy that holds one of the controllers.
type cgroup map[string]hierarchy

// findHierarchies reads mountinfo: a controller in a version 1 hierarchy is not in the version 2 one, and a machine may have both.
func findHierarchies(mountinfo string, v2Controllers func(root string) string) (cgroup, error) {
	found := cgroup{}
	for _, line := range strings.Split(mountinfo, "\n") {
		// proc_pid_mountinfo(5): optional fields end with " - "
		before, after, isMount := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !isMount || len(left) < 5 || len(right) < 3 {
			continue
		}
		root := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(left[4])
		var has []string
		switch right[0] {
		case "cgroup":
			has = strings.Split(right[2], ",")
		case "cgroup2":
			has = strings.Fields(v2Controllers(root))
		}
		for _, controller := range append([]string{accounting}, cgroupControllers...) {
			if _, known := found[controller]; !known && slices.Contains(has, controller) {
				found[controller] = hierarchy{root, right[0] == "cgroup2"}
			}
		}
	}
	for _, controller := range cgroupControllers {
		if _, known := found[controller]; !known {
			return nil, fmt.Errorf("no mounted hierarchy has the controller %s", controller)
		}
	}
	return found, nil
}

// hostCgroups finds what is mounted or, where nothing is, mounts it for this process alone: under `ip netns exec` /sys is a new one, with
// nothing mounted below.
func hostCgroups() (cgroup, error) {
	groups, err := mountedCgroups()
	if err == nil {
		return groups, nil
	}
	if mountErr := mountCgroups(); mountErr != nil {
		return nil, fmt.Errorf("%w; and none can be mounted: %v", err, mountErr)
	}
	return mountedCgroups()
}

func mountedCgroups() (cgroup, error) {
	mountinfo, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	return findHierarchies(string(mountinfo), func(root string) string {
		text, _ := os.ReadFile(filepath.Join(root, "cgroup.controllers")) // unreadable is empty: it has none for us
		return string(text)
	})
}

const cgroupMounts = "/sys/fs/cgroup"

// mountCgroups mounts every hierarchy as the kernel has it, in a mount namespace of this thread's own, which it stays in.
func mountCgroups() error {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("ironwright", cgroupMounts, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		// cgroups(7): ID:CONTROLLERS:PATH; version 2 names no controllers, and a named hierarchy has none
		parts := strings.SplitN(line, ":", 3)
		if len(parts) < 3 || strings.HasPrefix(parts[1], "name=") {
			continue
		}
		kind, dir := "cgroup", parts[1]
		if dir == "" {
			kind, dir = "cgroup2", "unified"
		}
		at := filepath.Join(cgroupMounts, dir)
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("none", at, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, parts[1]); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

func (c cgroup) dir(controller, name string) string {
	return filepath.Join(c[controller].root, cgroupParent, name)
}

// dirs are the distinct directories of a group.
func (c cgroup) dirs(name string) []string {
	var dirs []string
	for controller := range c {
		if dir := c.dir(controller, name); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// enterCgroup makes the cell's group if it is not there, sets its limits and moves this process into it.
func enterCgroup(name string, l limits) error {
	groups, err := hostCgroups()
	if err != nil {
		return err
	}
	for _, dir := range groups.dirs(name) {
		if err := makeGroup(dir); err != nil {
			return err
		}
	}
	if err := groups.delegate(); err != nil {
		return err
	}
	if err := groups.weighTogether(); err != nil {
		return err
	}
	for _, controller := range cgroupControllers {
		at := groups[controller]
		for _, one := range l.settings(controller, at.v2) {
			err := writeCgroup(filepath.Join(groups.dir(controller, name), one.file), one.value)
			if err != nil && !(one.optional && errors.Is(err, os.ErrNotExist)) {
				return err
			}
		}
	}
	for _, dir := range groups.dirs(name) {
		if err := writeCgroup(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
			return err
		}
	}
	return nil
}

// makeGroup tries again: whoever removes the last cell removes the group of all.
func makeGroup(dir string) error {
	var err error
	for range 10 {
		if err = os.MkdirAll(dir, 0o755); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return err
}

// delegate lets the version 2 groups of cells have the controllers: each group above has to pass them on.
func (c cgroup) delegate() error {
	var pass []string
	var root string
	for _, controller := range cgroupControllers {
		if c[controller].v2 {
			root = c[controller].root
			pass = append(pass, "+"+controller)
		}
	}
	if root == "" {
		return nil
	}
	for _, dir := range []string{root, filepath.Join(root, cgroupParent)} {
		file := filepath.Join(dir, "cgroup.subtree_control")
		if err := writeCgroup(file, strings.Join(pass, " ")); err != nil {
			if errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("%w: processes are in %s itself, so that no group below it can have limits", err, dir)
			}
			return err
		}
	}
	return nil
}

// weighTogether lets all cells weigh as much as one process of the host for each processor. Version 1 would weigh them as one process,
// however many want to run in them; version 2 weighs them as all services of the system.
func (c cgroup) weighTogether() error {
	if c["cpu"].v2 {
		return nil
	}
	const ofOne = 1024
	return writeCgroup(filepath.Join(c["cpu"].root, cgroupParent, "cpu.shares"), strconv.Itoa(ofOne*runtime.NumCPU()))
}

// setting is what is written into one file of a group.
type setting struct {
	file, value string
	// optional: not each kernel has it.
	optional bool
}

// settings says what is written for a controller's limit, in this order, by the files of cgroup-v1 or cgroup-v2. As much as a cell may
// hold in memory it may hold in swap, so that all of it can be frozen and none of it takes the swap of all.
func (l limits) settings(controller string, v2 bool) []setting {
	orMax := func(value int64, none string) string {
		if value == 0 {
			return none
		}
		return strconv.FormatInt(value, 10)
	}
	quota := l.cpuMillis * cpuPeriod / 1000
	switch {
	case controller == "pids":
		return []setting{{file: "pids.max", value: orMax(l.pids, "max")}}
	case controller == "memory" && v2:
		return []setting{
			{file: "memory.max", value: orMax(l.memoryBytes, "max")},
			{file: "memory.swap.max", value: orMax(l.memoryBytes, "max"), optional: true},
		}
	case controller == "memory":
		// of memory and swap together, and never below that of memory alone: out of its way first
		both := "memory.memsw.limit_in_bytes"
		return []setting{
			{file: both, value: "-1", optional: true},
			{file: "memory.limit_in_bytes", value: orMax(l.memoryBytes, "-1")},
			{file: both, value: orMax(2*l.memoryBytes, "-1"), optional: true},
		}
	case v2:
		return []setting{{file: "cpu.max", value: orMax(quota, "max") + " " + strconv.Itoa(cpuPeriod)}}
	default:
		return []setting{{file: "cpu.cfs_quota_us", value: orMax(quota, "-1")}}
	}
}

// writeCgroup uses no file of the runtime's: memory.reclaim answers EAGAIN, and the runtime would wait for it to become writable.
func writeCgroup(file, value string) error {
	// no O_CREATE: what the kernel does not offer is an error
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Write(fd, []byte(value))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &os.PathError{Op: "write", Path: file, Err: err}
		}
	}
}

// cgroupVerb looks after a cell's group from outside.
//
//	ironwright-native cgroup remove|reclaim|kill|stop|continue NAME
//	ironwright-native cgroup usage NAME…
//
// remove fails while a process is in it; where there is none, it is done. reclaim pushes out what memory it can, the swap cache too.
// kill ends every process in it, also one that left its session; stop stops them all in place, and continue lets them go on. usage
// prints what is charged to each group that is there.
func cgroupVerb(args []string) error {
	if len(args) < 2 || len(args) > 2 && args[0] != "usage" || slices.ContainsFunc(args[1:], func(name string) bool { return !cellName.MatchString(name) }) {
		return errors.New("want remove|reclaim|kill|stop|continue NAME, or usage NAME…")
	}
	groups, err := hostCgroups()
	if err != nil {
		return err
	}
	switch args[0] {
	case "remove":
		return groups.remove(args[1])
	case "reclaim":
		return groups.reclaim(args[1])
	case "kill":
		return groups.kill(args[1])
	case "stop":
		return groups.stop(args[1])
	case "continue":
		return groups.signal(args[1], unix.SIGCONT)
	case "usage":
		all := map[string]cgroupUsage{}
		for _, name := range args[1:] {
			usage, err := groups.usage(name)
			if errors.Is(err, os.ErrNotExist) {
				continue // it never ran, or ended just now
			}
			if err != nil {
				return err
			}
			all[name] = usage
		}
		return json.NewEncoder(os.Stdout).Encode(all)
	default:
		return fmt.Errorf("no such thing to do: %s", args[0])
	}
}

const (
	removeFor  = 5 * time.Second
	removePoll = 10 * time.Millisecond
)

func (c cgroup) remove(name string) error {
	until := time.Now().Add(removeFor)
	for _, dir := range c.dirs(name) {
		for {
			err := unix.Rmdir(dir)
			if err == nil || err == unix.ENOENT {
				break
			}
			// the last process of it is a moment longer there than in /proc
			if err != unix.EBUSY || time.Now().After(until) {
				return fmt.Errorf("%s: %w", dir, err)
			}
			time.Sleep(removePoll)
		}
		unix.Rmdir(filepath.Dir(dir)) // stays while it holds another cell
	}
	return nil
}

// The kernel gives up before everything is out when pages are young; those that are being written to swap go when that is done.
const (
	reclaimRounds = 16
	reclaimStalls = 3
	reclaimPause  = 40 * time.Millisecond
)

func (c cgroup) reclaim(name string) error {
	dir := c.dir("memory", name)
	stalls := 0
	for range reclaimRounds {
		before, err := c.memory(name)
		if err != nil {
			return err
		}
		file, value := filepath.Join(dir, "memory.force_empty"), "0"
		if c["memory"].v2 {
			file, value = filepath.Join(dir, "memory.reclaim"), strconv.FormatInt(before, 10)
		}
		// EAGAIN: less than asked for could be reclaimed, which is what it means here
		if err := writeCgroup(file, value); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EBUSY) {
			return err
		}
		after, err := c.memory(name)
		if err != nil || after == 0 {
			return err
		}
		if after < before-before/16 {
			continue
		}
		if stalls++; stalls == reclaimStalls {
			return nil
		}
		time.Sleep(reclaimPause)
	}
	return nil
}

// memory is what is charged, in bytes: resident pages, the swap cache, files it read first, what the kernel keeps for it.
func (c cgroup) memory(name string) (int64, error) {
	file := "memory.usage_in_bytes"
	if c["memory"].v2 {
		file = "memory.current"
	}
	return readNumber(c.dir("memory", name), file)
}

type cgroupUsage struct {
	MemoryBytes int64 `json:"memoryBytes"`
	SwapBytes   int64 `json:"swapBytes"`
	CPUMicros   int64 `json:"cpuMicros"`
}

func (c cgroup) usage(name string) (cgroupUsage, error) {
	var u cgroupUsage
	var err error
	if u.MemoryBytes, err = c.memory(name); err != nil {
		return u, err
	}
	memory := c.dir("memory", name)
	if c["memory"].v2 {
		// absent where the kernel does not account swap
		u.SwapBytes, _ = readNumber(memory, "memory.swap.current")
	} else {
		u.SwapBytes, _ = readField(filepath.Join(memory, "memory.stat"), "swap")
	}
	if c["cpu"].v2 {
		u.CPUMicros, err = readField(filepath.Join(c.dir("cpu", name), "cpu.stat"), "usage_usec")
		return u, err
	}
	if _, counts := c[accounting]; counts {
		nanoseconds, err := readNumber(c.dir(accounting, name), "cpuacct.usage")
		u.CPUMicros = nanoseconds / 1000
		return u, err
	}
	return u, nil
}

// readField reads one line of a flat keyed file.
func readField(file, key string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == key {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}
