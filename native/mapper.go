package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	cipher = "aes-xts-plain64"
	// cipherKey is two of AES-256's, as XTS wants
	cipherKey = 64
	// sector of the disk, in which the mapper counts
	sector        = 512
	mappingGoneIn = 5 * time.Second
	mappingPoll   = 20 * time.Millisecond
)

func openMapper() (int, error) { return openControl("/dev/mapper/control", "device-mapper") }

func mappingName(id swapID) string { return fmt.Sprintf("ironwright-swap-%x", id[:]) }

// mappingOf is the mapping's device, or empty.
func mappingOf(id swapID) string {
	names, _ := filepath.Glob("/sys/block/dm-*/dm/name") // fails for a bad pattern alone
	for _, file := range names {
		if name, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(name)) == mappingName(id) {
			return "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(file)))
		}
	}
	return ""
}

// createMapping maps all of a block device through a cipher whose key is random, and known to the kernel alone.
func createMapping(control int, id swapID, size int64, over string) error {
	call, err := newMapperCall(mappingName(id))
	if err != nil {
		return err
	}
	defer call.free()
	if err := call.do(control, unix.DM_DEV_CREATE); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	call.reset(mappingName(id))
	if err := call.cryptTable(size, over); err != nil {
		return err
	}
	if err := call.do(control, unix.DM_TABLE_LOAD); err != nil {
		return fmt.Errorf("crypt, %s: %w", cipher, err)
	}
	call.reset(mappingName(id))
	// without DM_SUSPEND_FLAG it resumes, which is what puts the table to use
	if err := call.do(control, unix.DM_DEV_SUSPEND); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

func removeMapping(id swapID) error {
	control, err := openMapper()
	if err != nil {
		return err
	}
	defer unix.Close(control)
	call, err := newMapperCall(mappingName(id))
	if err != nil {
		return err
	}
	defer call.free()
	for until := time.Now().Add(mappingGoneIn); ; time.Sleep(mappingPoll) {
		call.reset(mappingName(id))
		err := call.do(control, unix.DM_DEV_REMOVE)
		switch {
		case err == nil || err == unix.ENXIO:
			return nil
		// udev looks at what is new
		case err != unix.EBUSY || time.Now().After(until):
			return fmt.Errorf("mapping %s: %w", mappingName(id), err)
		}
	}
}

// mapperCall is a call of linux/dm-ioctl.h with its data, in memory that is never swapped out.
type mapperCall struct{ page []byte }

const (
	mapperHeader = int(unsafe.Sizeof(unix.DmIoctl{}))
	mapperTarget = int(unsafe.Sizeof(unix.DmTargetSpec{}))
)

func newMapperCall(name string) (mapperCall, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE|unix.MAP_LOCKED)
	if err != nil {
		return mapperCall{}, fmt.Errorf("memory: %w", err)
	}
	call := mapperCall{page}
	call.reset(name)
	return call, nil
}

func (c mapperCall) header() *unix.DmIoctl { return (*unix.DmIoctl)(unsafe.Pointer(&c.page[0])) }

func (c mapperCall) reset(name string) {
	clear(c.page)
	header := c.header()
	// the oldest interface that has all of this
	header.Version = [3]uint32{4, 0, 0}
	header.Data_size = uint32(len(c.page))
	header.Data_start = uint32(mapperHeader)
	copy(header.Name[:len(header.Name)-1], name)
}

// cryptTable is one target: CIPHER KEY IV_OFFSET DEVICE OFFSET, of the kernel's dm-crypt.rst. The key is nowhere but in this page.
func (c mapperCall) cryptTable(size int64, over string) error {
	header := c.header()
	header.Target_count = 1
	// the kernel clears its own copy
	header.Flags = unix.DM_SECURE_DATA_FLAG
	target := (*unix.DmTargetSpec)(unsafe.Pointer(&c.page[mapperHeader]))
	target.Length = uint64(size / sector)
	copy(target.Target_type[:], "crypt")
	key := c.page[len(c.page)-cipherKey:]
	if _, err := rand.Read(key); err != nil {
		return err
	}
	table := c.page[mapperHeader+mapperTarget:]
	at := copy(table, cipher+" ")
	at += hex.Encode(table[at:], key)
	copy(table[at:], fmt.Sprintf(" 0 %s 0 1 sector_size:%d", over, loopBlock))
	clear(key)
	return nil
}

func (c mapperCall) do(control int, request uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(control), request, uintptr(unsafe.Pointer(&c.page[0]))); errno != 0 {
		return errno
	}
	return nil
}

func (c mapperCall) free() {
	clear(c.page)
	unix.Munmap(c.page)
}
