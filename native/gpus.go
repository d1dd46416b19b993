package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	nvidiaVendor = 0x10de
	displayClass = 0x03
)

// gpu is one PCI function that is an NVIDIA display or 3D controller.
type gpu struct {
	address string // e.g. 0000:41:00.0
	device  uint64 // PCI device id
	node    int64  // NUMA node, -1 where the firmware names none
}

// findGPUs reads the PCI functions the kernel knows, in the order of their addresses.
func findGPUs(pciDir string) ([]gpu, error) {
	entries, err := os.ReadDir(pciDir)
	if err != nil {
		return nil, err
	}
	var found []gpu
	for _, entry := range entries {
		dir := filepath.Join(pciDir, entry.Name())
		vendor, err := readNumber(dir, "vendor")
		if err != nil {
			continue // unplugged meanwhile
		}
		class, err := readNumber(dir, "class")
		if err != nil || vendor != nvidiaVendor || class>>16 != displayClass {
			continue
		}
		device, err := readNumber(dir, "device")
		if err != nil {
			continue
		}
		node, err := readNumber(dir, "numa_node")
		if err != nil {
			node = -1
		}
		found = append(found, gpu{entry.Name(), uint64(device), node})
	}
	slices.SortFunc(found, func(a, b gpu) int { return strings.Compare(a.address, b.address) })
	return found, nil
}

func readNumber(dir, name string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseInt(strings.TrimSpace(string(text)), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s/%s: %w", dir, name, err)
	}
	return number, nil
}
