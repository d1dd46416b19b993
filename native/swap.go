package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swap makes a file that the kernel may push memory out to, and takes it away.
//
//	ironwright-native swap on FILE BYTES
//	ironwright-native swap off FILE
//
// The file is new: what an earlier one holds of anybody's memory is not kept. off brings back what is in it first, and removes it.
func swap(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "on":
		size, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil || size < smallestSwap {
			return fmt.Errorf("%q is not a size of at least %d bytes", args[2], smallestSwap)
		}
		return swapOn(args[1], size)
	case len(args) == 2 && args[0] == "off":
		return swapOff(args[1])
	default:
		return errors.New("want on FILE BYTES, or off FILE")
	}
}

const (
	smallestSwap = 1 << 20
	// swapPriority: before what else the host has, for this is where it belongs
	swapPriority   = 100
	swapFlagPrefer = 0x8000
)

func swapOn(file string, size int64) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	handle, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = fillSwap(handle, size)
	handle.Close()
	if err == nil {
		err = swapCall(unix.SYS_SWAPON, file, swapFlagPrefer|swapPriority)
	}
	if err != nil {
		os.Remove(file)
	}
	return err
}

func fillSwap(handle *os.File, size int64) error {
	pageSize := int64(os.Getpagesize())
	size -= size % pageSize
	// a swap file has no holes: swapon(8)
	if err := unix.Fallocate(int(handle.Fd()), 0, 0, size); err != nil {
		return fmt.Errorf("room for %d bytes: %w", size, err)
	}
	if _, err := handle.WriteAt(swapHeader(size, pageSize), 0); err != nil {
		return err
	}
	return handle.Sync()
}

// swapHeader is the first page: union swap_header of linux/swap.h.
func swapHeader(size, pageSize int64) []byte {
	header := make([]byte, pageSize)
	const version, info = 1, 1024
	binary.NativeEndian.PutUint32(header[info:], version)
	binary.NativeEndian.PutUint32(header[info+4:], uint32(size/pageSize-1))
	rand.Read(header[info+12 : info+28]) // its UUID
	copy(header[pageSize-10:], "SWAPSPACE2")
	return header
}

func swapOff(file string) error {
	// EINVAL: it is not in use
	if err := swapCall(unix.SYS_SWAPOFF, file, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func swapCall(number uintptr, file string, flags uintptr) error {
	path, err := unix.BytePtrFromString(file)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(number, uintptr(unsafe.Pointer(path)), flags, 0); errno != 0 {
		return fmt.Errorf("%s: %w", file, errno)
	}
	return nil
}
