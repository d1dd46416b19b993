package main

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// bound says by SO_BINDTODEVICE which interface each of its descriptors is bound to, a line each, empty where it is none: Node, which
// was handed them, cannot ask.
//
//	ironwright-native bound FD…
func bound(args []string) error {
	if len(args) == 0 {
		return errors.New("want FD…")
	}
	for _, arg := range args {
		fd, err := strconv.Atoi(arg)
		if err != nil {
			return fmt.Errorf("%q is not a descriptor", arg)
		}
		device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		if err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
		fmt.Println(device)
	}
	return nil
}
