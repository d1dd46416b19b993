package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// blockNode is where a block device can be opened. A container's /dev may lack what the host has got since.
func blockNode(device string) (string, error) {
	number, err := deviceNumber(filepath.Join("/sys/block", filepath.Base(device)))
	if err != nil {
		return "", err
	}
	return device, deviceNode(device, unix.S_IFBLK, number)
}

// openControl opens a driver's control device, which has a name among those of the kernel's class misc.
func openControl(path, name string) (int, error) {
	// where the driver is not there yet, opening a static node may load it
	if number, err := deviceNumber(filepath.Join("/sys/class/misc", name)); err == nil {
		if err := deviceNode(path, unix.S_IFCHR, number); err != nil {
			return 0, err
		}
	}
	control, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return control, nil
}

func deviceNumber(sysfs string) (uint64, error) {
	text, err := os.ReadFile(filepath.Join(sysfs, "dev"))
	if err != nil {
		return 0, err
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(strings.TrimSpace(string(text)), "%d:%d", &major, &minor); err != nil {
		return 0, fmt.Errorf("%s has the number %q: %w", sysfs, text, err)
	}
	return unix.Mkdev(major, minor), nil
}

func deviceNode(path string, kind uint32, number uint64) error {
	var is unix.Stat_t
	err := unix.Stat(path, &is)
	if err == nil && is.Mode&unix.S_IFMT == kind && is.Rdev == number {
		return nil
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := unix.Mknod(path, kind|0o600, int(number)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
