package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// processMadvise is process_madvise(2) for one range of another process.
func processMadvise(pidfd int, at addressRange, advice int) (int, error) {
	// an address of the other process: no pointer of ours
	vector := [1]struct{ base, length uint64 }{{at.from, at.to - at.from}}
	n, _, errno := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(pidfd), uintptr(unsafe.Pointer(&vector[0])), 1, uintptr(advice), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
