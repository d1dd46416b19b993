package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// encryptedSwap: a loop device over the file, and dm-crypt over that. The loop goes by itself when nothing holds it any more: this
// process does until the mapping does.
func encryptedSwap(file string, size int64, id swapID) (string, error) {
	loadModules("loop", "dm_crypt")
	control, err := openMapper()
	if err != nil {
		return "", fmt.Errorf("device mapper: %w", err)
	}
	defer unix.Close(control)
	handle, err := makeSwapFile(file, size)
	if err != nil {
		return "", err
	}
	defer handle.Close()
	loop, err := attachLoop(handle)
	if err != nil {
		return "", fmt.Errorf("loop device: %w", err)
	}
	defer loop.Close()
	if err := createMapping(control, id, size, loop.Name()); err != nil {
		return "", fmt.Errorf("device mapper: %w", err)
	}
	return blockNode(mappingOf(id))
}
