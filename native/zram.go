package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	zramControl = "/sys/class/zram-control"
	zramGoneIn  = 5 * time.Second
	zramPoll    = 20 * time.Millisecond
)

// zramAlgorithms: who wakes waits for it to be unpacked; where the kernel has none of these, it takes its own.
var zramAlgorithms = []string{"lz4", "lzo-rle", "zstd"}

// zramSwap is a device in memory, Documentation/admin-guide/blockdev/zram.rst. The file only names it, by the header on the device.
func zramSwap(_ string, size int64, _ swapID) (string, error) {
	loadModules("zram")
	text, err := os.ReadFile(filepath.Join(zramControl, "hot_add"))
	if err != nil {
		return "", fmt.Errorf("zram: %w", err)
	}
	device := "/dev/zram" + strings.TrimSpace(string(text))
	if err := setUpZram(device, size); err != nil {
		return "", errors.Join(fmt.Errorf("zram: %w", err), removeZram(device))
	}
	return device, nil
}

func setUpZram(device string, size int64) error {
	for _, algorithm := range zramAlgorithms {
		if writeZram(device, "comp_algorithm", algorithm) == nil {
			break
		}
	}
	if err := writeZram(device, "disksize", strconv.FormatInt(size, 10)); err != nil {
		return err
	}
	_, err := blockNode(device)
	return err
}

// zramOf is the device that has this header, or empty.
func zramOf(id swapID) string {
	sizes, _ := filepath.Glob("/sys/block/zram*/disksize") // fails for a bad pattern alone
	for _, file := range sizes {
		// one without a size cannot be read
		if size, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(size)) == "0" {
			continue
		}
		node, err := blockNode("/dev/" + filepath.Base(filepath.Dir(file)))
		if err == nil && hasSwapHeader(node, id) {
			return node
		}
	}
	return ""
}

func hasSwapHeader(device string, id swapID) bool {
	handle, err := os.Open(device)
	if err != nil {
		return false
	}
	defer handle.Close()
	page := make([]byte, os.Getpagesize())
	if _, err := io.ReadFull(handle, page); err != nil {
		return false
	}
	return string(page[swapHeaderUUID:swapHeaderUUID+len(id)]) == string(id[:]) && strings.HasSuffix(string(page), "SWAPSPACE2")
}

func removeZram(device string) error {
	number := strings.TrimPrefix(device, "/dev/zram")
	for until := time.Now().Add(zramGoneIn); ; time.Sleep(zramPoll) {
		err := writeZram(device, "reset", "1")
		if err == nil {
			err = writeCgroup(filepath.Join(zramControl, "hot_remove"), number)
		}
		// EBUSY: udev looks at what is new
		if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return err
		}
	}
}

func writeZram(device, file, value string) error {
	return writeCgroup(filepath.Join("/sys/block", filepath.Base(device), file), value)
}
