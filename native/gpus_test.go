package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// pciFunction lays out one function as sysfs does.
func pciFunction(t *testing.T, dir, address string, files map[string]string) {
	t.Helper()
	path := filepath.Join(dir, address)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func rackOfTwo(t *testing.T) string {
	dir := t.TempDir()
	pciFunction(t, dir, "0000:81:00.0", map[string]string{"vendor": "0x10de", "class": "0x030200", "device": "0x2330", "numa_node": "1"})
	pciFunction(t, dir, "0000:41:00.0", map[string]string{"vendor": "0x10de", "class": "0x030200", "device": "0x2330", "numa_node": "0"})
	pciFunction(t, dir, "0000:41:00.1", map[string]string{"vendor": "0x10de", "class": "0x040300", "device": "0x10f7", "numa_node": "0"})
	pciFunction(t, dir, "0000:00:02.0", map[string]string{"vendor": "0x1234", "class": "0x030000", "device": "0x1111", "numa_node": "-1"})
	pciFunction(t, dir, "0000:02:00.0", map[string]string{"vendor": "0x10de"})
	return dir
}

func TestGPUsAreNvidiasDisplayControllersInTheOrderOfTheirAddresses(t *testing.T) {
	got, err := findGPUs(rackOfTwo(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []gpu{{"0000:41:00.0", 0x2330, 0}, {"0000:81:00.0", 0x2330, 1}}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestAFirmwareThatNamesNoNodeGivesADeviceWithoutTopology(t *testing.T) {
	dir := t.TempDir()
	pciFunction(t, dir, "0000:01:00.0", map[string]string{"vendor": "0x10de", "class": "0x030000", "device": "0x2330", "numa_node": "-1"})
	pciFunction(t, dir, "0000:02:00.0", map[string]string{"vendor": "0x10de", "class": "0x030000", "device": "0x2330", "numa_node": "1"})
	gpus, err := findGPUs(dir)
	if err != nil {
		t.Fatal(err)
	}
	devices := asDevices(gpus)
	if devices[0].Topology != nil {
		t.Errorf("topology %v of a device without a node", devices[0].Topology)
	}
	if nodes := devices[1].Topology.GetNodes(); len(nodes) != 1 || nodes[0].ID != 1 {
		t.Errorf("nodes %v, want 1", nodes)
	}
}
