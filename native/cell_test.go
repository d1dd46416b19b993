package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the program: a cell is entered by becoming another one.
func TestMain(m *testing.M) {
	if os.Getenv("IRONWRIGHT_NATIVE_VERB") != "" {
		main()
		os.Exit(0)
	}
	if os.Getenv("IRONWRIGHT_HOLDS_MEMORY") != "" {
		holdMemory()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const testUID = 2_990_001

func native(args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Env = []string{"IRONWRIGHT_NATIVE_VERB=1"}
	return command
}

// shellCell is a cell with the host's programs and nothing else of it.
func shellCell(t *testing.T, name, script string, more ...string) *exec.Cmd {
	t.Helper()
	args := []string{"cell", "--name", name, "--uid", strconv.Itoa(testUID), "--gid", strconv.Itoa(testUID)}
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			args = append(args, "--read-only", dir+"="+dir)
		}
	}
	args = append(append(args, more...), "--", "/bin/sh", "-c", script)
	return native(args...)
}

func needRoot(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("cells are made by root")
	}
	name := fmt.Sprintf("test-%d-%s", os.Getpid(), strings.ToLower(t.Name()))
	t.Cleanup(func() {
		if output, err := native("cgroup", "remove", name).CombinedOutput(); err != nil {
			t.Errorf("the group stays: %v %s", err, output)
		}
	})
	return name
}

func TestCellHasWhatItWasGivenAndNothingElse(t *testing.T) {
	name := needRoot(t)
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(home, "out"), testUID, testUID); err != nil {
		t.Fatal(err)
	}
	script := `
		echo "ids $(id -u) $(id -g) $(id -G)"
		echo "net" $(tail -n +3 /proc/self/net/dev | cut -d: -f1)
		echo "root" $(ls -A /)
		echo "dev" $(ls -A /dev)
		echo "caps" $(grep -E '^(Cap|NoNewPrivs)' /proc/self/status | cut -f2)
		echo "processes" $(ls /proc | grep -c '^[0-9]')
		echo "host" $(hostname)
		echo "groups" $(cat /proc/self/cgroup | grep -c ironwright/` + name + `)
		touch /home/out/mine && echo "writes out"
		touch /home/mine || echo "reads home"
		touch /mine || echo "reads root"
		touch /tmp/mine && echo "writes tmp"
		cat /proc/1/environ || echo "blind"
		cd /out && echo "inside"
		sleep 0 & wait`
	command := shellCell(t, name, script, "--read-only", home+"=/home", "--writable", home+"/out=/home/out", "--memory", "67108864",
		"--pids", "50", "--cpu", "500", "--dir", "/home")
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	if err := command.Run(); err == nil {
		t.Logf("%s", complaints.String())
	}
	for _, line := range []string{
		fmt.Sprintf("ids %[1]d %[1]d %[1]d", testUID), "net lo", "dev null random urandom zero",
		"caps " + strings.Repeat("0000000000000000 ", 5) + "1", "host cell", "writes out", "reads home", "reads root", "writes tmp", "blind",
	} {
		if !strings.Contains(output.String(), line+"\n") {
			t.Errorf("not so: %s\n%s%s", line, output.String(), complaints.String())
		}
	}
	if root := between(output.String(), "root "); strings.Contains(root, "root") || strings.Contains(root, "var") || strings.Contains(root, "sys") {
		t.Errorf("of the host: %s", root)
	}
	if groups := between(output.String(), "groups "); groups == "0" {
		t.Errorf("in no group of its own")
	}
	groups, err := hostCgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, controller := range cgroupControllers {
		last := map[string]setting{}
		for _, one := range (limits{cpuMillis: 500, memoryBytes: 67108864, pids: 50}).settings(controller, groups[controller].v2) {
			last[one.file] = one
		}
		for file, one := range last {
			text, err := os.ReadFile(filepath.Join(groups.dir(controller, name), file))
			if one.optional && errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil || strings.TrimSpace(string(text)) != one.value {
				t.Errorf("%s is %q, want %q (%v)", file, text, one.value, err)
			}
		}
	}
	if groups["cpu"].v2 {
		return
	}
	together := filepath.Join(groups["cpu"].root, cgroupParent, "cpu.shares")
	want := strconv.Itoa(1024 * runtime.NumCPU())
	if text, err := os.ReadFile(together); err != nil || strings.TrimSpace(string(text)) != want {
		t.Errorf("all cells together weigh %q, want %s (%v)", text, want, err)
	}
}

func between(text, prefix string) string {
	for _, line := range strings.Split(text, "\n") {
		if rest, found := strings.CutPrefix(line, prefix); found {
			return rest
		}
	}
	return ""
}

// start runs a cell until the test ends, and says which process it is once it is there.
func start(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	pid := command.Process.Pid
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if strings.TrimSpace(string(comm)) == "sleep" {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				t.Fatal(err)
			}
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			return fmt.Sprintf("%d:%s", pid, fields[19])
		}
	}
	t.Fatal("it never slept")
	return ""
}

func TestCellJoinsALiveMemberAndNobodyElse(t *testing.T) {
	name := needRoot(t)
	member := start(t, shellCell(t, name, "exec sleep 600"))
	pid, ticks, _ := strings.Cut(member, ":")
	namespace := func(of string) string {
		link, err := os.Readlink("/proc/" + of + "/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	joined := start(t, shellCell(t, name, "exec sleep 600", "--join", member))
	if other, _, _ := strings.Cut(joined, ":"); namespace(other) != namespace(pid) || namespace(pid) == namespace("self") {
		t.Errorf("not in its network: %s, %s", namespace(other), namespace(pid))
	}
	inHost := start(t, exec.Command("/usr/bin/setpriv", "--reuid", strconv.Itoa(testUID), "--clear-groups", "sleep", "600"))
	wired := start(t, exec.Command("/usr/bin/unshare", "-n", "/bin/sh", "-c", "ip tuntap add dev road mode tap && ip link set road up && exec setpriv --reuid "+strconv.Itoa(testUID)+" --clear-groups sleep 600"))
	for _, one := range []struct{ what, join, says string }{
		{"one in a network with a way out", wired, "is in a network with the interface road"},
		{"a process in the host's network", inHost, "network namespace: process " + strings.Split(inHost, ":")[0] + ": is in the host's own network namespace"},
		{"one whose number is another's by now", pid + ":1" + ticks, "is another one by now"},
		{"one that is gone", "4194305:1", "is gone"},
		{"another user's", start(t, exec.Command("/bin/sleep", "600")), "is not a process of this cell's user"},
	} {
		output, err := shellCell(t, name, "echo it ran", "--join", one.join).CombinedOutput()
		if err == nil || !strings.Contains(string(output), one.says) || strings.Contains(string(output), "it ran") {
			t.Errorf("%s: %v %s", one.what, err, output)
		}
	}
}

func TestCellRefusesAndSaysAtWhichStep(t *testing.T) {
	name := needRoot(t)
	for _, one := range []struct {
		says string
		args []string
	}{
		{"nobody is root in a cell", []string{"--name", "x", "--gid", "7", "--", "/bin/true"}},
		{"is not a number from 1 on", []string{"--name", "x", "--uid", "0", "--gid", "7", "--", "/bin/true"}},
		{"--name", []string{"--name", "../x", "--uid", "7", "--gid", "7", "--", "/bin/true"}},
		{"no command", []string{"--name", "x", "--uid", "7", "--gid", "7"}},
		{"SOURCE=TARGET", []string{"--read-only", "/usr=/proc", "--", "/bin/true"}},
		{"SOURCE=TARGET", []string{"--read-only", "/usr=/a/../b", "--", "/bin/true"}},
		{"want SOCKET=GID", []string{"--listen", "/a/../b=7", "--", "/bin/true"}},
		{"want SOCKET=GID", []string{"--listen", "/a=b", "--", "/bin/true"}},
		{"PID:STARTTICKS", []string{"--join", "1", "--", "/bin/true"}},
		{"no such flag", []string{"--root", "/", "--", "/bin/true"}},
		{"mount view: /no/such: no such file", []string{"--name", name, "--uid", "7", "--gid", "7", "--read-only", "/no/such=/x", "--", "/bin/true"}},
		{"exec /bin/true: no such file", []string{"--name", name, "--uid", "7", "--gid", "7", "--", "/bin/true"}},
	} {
		output, err := native(append([]string{"cell"}, one.args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), one.says) {
			t.Errorf("%v: %v %s, want %q", one.args, err, output, one.says)
		}
	}
}

func TestHierarchiesOfEachKind(t *testing.T) {
	v1 := "30 20 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"31 20 0:26 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n" +
		"32 20 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	v2 := "40 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for _, one := range []struct{ what, mountinfo, controllers, want string }{
		{"version 1", v1, "", "cpu=/sys/fs/cgroup/cpu/1 memory=/sys/fs/cgroup/memory/1 pids=/sys/fs/cgroup/pids/1"},
		{"hybrid", v2 + v1, "", "cpu=/sys/fs/cgroup/cpu/1 memory=/sys/fs/cgroup/memory/1 pids=/sys/fs/cgroup/pids/1"},
		{"hybrid, one controller in each", v2 + v1[:strings.Index(v1, "32 ")], "io pids", "cpu=/sys/fs/cgroup/cpu/1 memory=/sys/fs/cgroup/memory/1 pids=/sys/fs/cgroup/unified/2"},
		{"version 2", v2, "cpuset cpu io memory pids", "cpu=/sys/fs/cgroup/unified/2 memory=/sys/fs/cgroup/unified/2 pids=/sys/fs/cgroup/unified/2"},
		{"none", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "", "no mounted hierarchy has the controller cpu"},
		{"version 2 without a controller", v2, "cpu memory", "no mounted hierarchy has the controller pids"},
	} {
		found, err := findHierarchies(one.mountinfo, func(string) string { return one.controllers })
		var got []string
		for _, controller := range cgroupControllers {
			version := "1"
			if found[controller].v2 {
				version = "2"
			}
			got = append(got, fmt.Sprintf("%s=%s/%s", controller, found[controller].root, version))
		}
		said := strings.Join(got, " ")
		if err != nil {
			said = err.Error()
		}
		if said != one.want {
			t.Errorf("%s: %s, want %s", one.what, said, one.want)
		}
	}
}

func TestLimitsOfEachVersion(t *testing.T) {
	l := limits{cpuMillis: 1500, memoryBytes: 1 << 30, pids: 200}
	for _, one := range []struct {
		controller string
		v2         bool
		file       string
		some, none string
	}{
		{"cpu", false, "cpu.cfs_quota_us", "150000", "-1"},
		{"cpu", true, "cpu.max", "150000 100000", "max 100000"},
		{"memory", false, "memory.limit_in_bytes", "1073741824", "-1"},
		{"memory", false, "memory.memsw.limit_in_bytes", "2147483648", "-1"},
		{"memory", true, "memory.max", "1073741824", "max"},
		{"memory", true, "memory.swap.max", "1073741824", "max"},
		{"pids", false, "pids.max", "200", "max"},
		{"pids", true, "pids.max", "200", "max"},
	} {
		lastOf := func(l limits) (value string) {
			for _, setting := range l.settings(one.controller, one.v2) {
				if setting.file == one.file {
					value = setting.value
				}
			}
			return value
		}
		if got := lastOf(l); got != one.some {
			t.Errorf("%s: %q", one.file, got)
		}
		if got := lastOf(limits{}); got != one.none {
			t.Errorf("%s without a limit: %q", one.file, got)
		}
	}
}

func TestTheSocketIntoACellIsRootsAndItsUserCannotReplaceIt(t *testing.T) {
	name := needRoot(t)
	home := t.TempDir()
	for _, dir := range []string{home, filepath.Dir(home)} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	dir, elsewhere := filepath.Join(home, "door"), filepath.Join(home, "elsewhere")
	socket := filepath.Join(dir, "api.sock")
	// as an earlier version left it: the cell's own, with something else in the socket's place
	for _, err := range []error{os.Mkdir(dir, 0o700), os.Symlink(elsewhere, socket), os.Chown(dir, testUID, testUID)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const caller = testUID + 1
	args := []string{"cell", "--name", name, "--uid", strconv.Itoa(testUID), "--gid", strconv.Itoa(testUID), "--listen", fmt.Sprintf("%s=%d", socket, caller)}
	for _, path := range []string{"/lib", "/lib64"} {
		if _, err := os.Stat(path); err == nil {
			args = append(args, "--read-only", path+"="+path)
		}
	}
	args = append(args, "--read-only", os.Args[0]+"=/opt/native", "--", "/opt/native", "door", "--api-listen", "fd:3", "--api", "127.0.0.1:6443",
		"--etcd-listen", "127.0.0.1:2379", "--etcd", "/none")
	door := native(args...)
	door.Stderr = os.Stderr
	door.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, door.Start())
	t.Cleanup(func() {
		door.Process.Kill()
		door.Wait()
	})
	pid := door.Process.Pid
	waitFor(t, "the door is open", func() bool {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return string(comm) == "door-open\n"
	})
	for path, mode := range map[string]os.FileMode{dir: os.ModeDir | 0o750, socket: os.ModeSocket | 0o660} {
		info, err := os.Lstat(path)
		must(t, err)
		if owner := info.Sys().(*syscall.Stat_t); info.Mode() != mode || owner.Uid != 0 || owner.Gid != caller {
			t.Errorf("%s: %v of %d:%d", path, info.Mode(), owner.Uid, owner.Gid)
		}
	}
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("the link was followed")
	}
	as := func(uid int, script string) string {
		user := exec.Command("/usr/bin/setpriv", "--reuid", strconv.Itoa(uid), "--regid", strconv.Itoa(uid), "--clear-groups", "/bin/sh", "-c", script)
		output, _ := user.CombinedOutput()
		return string(output)
	}
	for _, script := range []string{
		"ln -sf /elsewhere " + socket, "rm -f " + socket + "; ls " + socket, "mv " + dir + " " + dir + "2", fmt.Sprintf("ls /proc/%d/root/", pid),
		fmt.Sprintf("ls /proc/%d/fd", pid),
	} {
		if said := as(testUID, script); !strings.Contains(said, "ermission denied") {
			t.Errorf("%s: %q", script, said)
		}
	}
	if said := as(caller, "ls "+socket); strings.TrimSpace(said) != socket {
		t.Errorf("who may call does not see it: %s", said)
	}
	conn, err := net.Dial("unix", socket)
	must(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	// nobody is behind the door: it took the call, and hangs up
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the door does not answer: %v", err)
	}
}

func TestACellStartsWhereNewFilesArePrivate(t *testing.T) {
	name := needRoot(t)
	home := t.TempDir()
	must(t, os.Chmod(home, 0o755))
	command := shellCell(t, name, "umask; cat /a/deep/place/file; head -c 1 /dev/zero | wc -c; grep cell /etc/passwd", "--read-only", home+"=/a/deep/place")
	must(t, os.WriteFile(filepath.Join(home, "file"), []byte("seen\n"), 0o644))
	// as the unit of the supervisor has it
	defer syscall.Umask(syscall.Umask(0o077))
	output, err := command.CombinedOutput()
	if want := fmt.Sprintf("0077\nseen\n1\ncell:x:%d:%d::/:/\n", testUID, testUID); err != nil || string(output) != want {
		t.Errorf("%v %s", err, output)
	}
}

func TestAFileOfACellHasAnEnd(t *testing.T) {
	name := needRoot(t)
	output, err := shellCell(t, name, "ulimit -f").CombinedOutput()
	if blocks := strings.TrimSpace(string(output)); err != nil || blocks != strconv.Itoa(largestFile/512) {
		t.Errorf("%v %s", err, output)
	}
}
