package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWhatLeftItsSessionIsStoppedAndEndedWithItsCell(t *testing.T) {
	name := needRoot(t)
	// it forks all the time, in sessions of their own
	script := "setsid sh -c 'while :; do sleep 0.01 & wait; done' & exec sleep 600"
	start(t, shellCell(t, name, script))
	groups, err := hostCgroups()
	must(t, err)
	members := func() []int {
		pids, err := groups.members(name)
		must(t, err)
		return pids
	}
	waitFor(t, "it left", func() bool { return len(members()) > 2 })
	run := func(what string) {
		t.Helper()
		if output, err := native("cgroup", what, name).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", what, err, output)
		}
	}
	run("stop")
	stopped := members()
	for _, pid := range stopped {
		if !isStopped(pid) {
			t.Errorf("%d runs", pid)
		}
	}
	if len(stopped) < 2 {
		t.Errorf("who is stopped: %v", stopped)
	}
	run("continue")
	waitFor(t, "it goes on", func() bool { return !isStopped(stopped[0]) })
	run("kill")
	if left := members(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// where nobody is, it is done
	run("kill")
	run("stop")
	run("continue")
}

func TestUsageOfManyCellsAtOnceLeavesOutWhatIsNotThere(t *testing.T) {
	name := needRoot(t)
	start(t, shellCell(t, name, "exec sleep 600"))
	output, err := native("cgroup", "usage", name, "never-was").Output()
	must(t, err)
	var usage map[string]cgroupUsage
	must(t, json.Unmarshal(output, &usage))
	if len(usage) != 1 || usage[name].MemoryBytes == 0 {
		t.Errorf("%s", output)
	}
	for _, args := range [][]string{{"kill"}, {"kill", name, name}, {"kill", "../x"}, {"usage", name, "../x"}, {"burn", name}} {
		if output, err := native(append([]string{"cgroup"}, args...)...).CombinedOutput(); err == nil || !strings.Contains(string(output), "cgroup: ") {
			t.Errorf("%v: %v %s", args, err, output)
		}
	}
}
