package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestFindSwap(t *testing.T) {
	swaps := "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" +
		"/dev/dm-1                               partition\t131068\t\t4\t\t-2\n" +
		"/a\\040b\\134c\\011d                       file\t\t1020\t\t12\t\t100\n"
	for _, one := range []struct {
		ours string
		want *swapInUse
	}{
		{"/a b\\c\td", &swapInUse{"plain", 1020 * 1024, 12 * 1024}},
		{"/dev/dm-1", &swapInUse{"plain", 131068 * 1024, 4096}},
		{"/dev/dm-11", nil},
		{"Filename", nil},
	} {
		got := findSwap(swaps, map[string]string{one.ours: "plain"})
		if (got == nil) != (one.want == nil) || got != nil && *got != *one.want {
			t.Errorf("%q: %v, not %v", one.ours, got, one.want)
		}
	}
}

func TestSwapIDIsOfOneFileAlone(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	seen := map[swapID]string{}
	for _, file := range []string{one + "/a", one + "/b", other + "/a"} {
		id, err := swapIDOf(file)
		if err != nil || seen[id] != "" {
			t.Errorf("%s is %x like %q, %v", file, id, seen[id], err)
		}
		seen[id] = file
	}
}

func TestSwapFileIsNotMadeInMemory(t *testing.T) {
	dir := "/dev/shm"
	var in unix.Statfs_t
	if err := unix.Statfs(dir, &in); err != nil || in.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs there")
	}
	file := filepath.Join(dir, "ironwright-"+strconv.Itoa(os.Getpid()))
	handle, err := makeSwapFile(file, smallestSwap)
	if handle != nil {
		handle.Close()
		os.Remove(file)
	}
	if err == nil || !strings.Contains(err.Error(), "/dev/shm is on tmpfs") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", file, err)
	}
}

func TestCryptTable(t *testing.T) {
	call, err := newMapperCall("ironwright-swap-0")
	if err != nil {
		t.Fatal(err)
	}
	defer call.free()
	var keys []string
	for range 2 {
		call.reset("ironwright-swap-0")
		if err := call.cryptTable(8<<20, "/dev/loop7"); err != nil {
			t.Fatal(err)
		}
		target := (*unix.DmTargetSpec)(unsafe.Pointer(&call.page[mapperHeader]))
		if kind := unix.ByteSliceToString(target.Target_type[:]); kind != "crypt" || target.Length != 16384 {
			t.Errorf("%s of %d sectors", kind, target.Length)
		}
		table := unix.ByteSliceToString(call.page[mapperHeader+mapperTarget:])
		fields := strings.Fields(table)
		key, err := hex.DecodeString(fields[1])
		if err != nil || len(key) != cipherKey || fields[0] != "aes-xts-plain64" || strings.Join(fields[2:], " ") != "0 /dev/loop7 0 1 sector_size:4096" {
			t.Errorf("%s", table)
		}
		if bytes.Contains(call.page, key) {
			t.Error("the key is there once more")
		}
		keys = append(keys, string(key))
	}
	if keys[0] == keys[1] {
		t.Error("twice the same key")
	}
}
