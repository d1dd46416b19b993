package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// loopBlock: pages of memory are multiples of it, and no disk has larger sectors
	loopBlock    = 4096
	loopAttempts = 16
	loopGoneFor  = 5 * time.Second
	loopPoll     = 10 * time.Millisecond
)

// attachLoop makes the file a block device, past the page cache: in there it would take the memory that is to be freed.
func attachLoop(file *os.File) (*os.File, error) {
	control, err := openControl("/dev/loop-control", "loop-control")
	if err != nil {
		return nil, err
	}
	defer unix.Close(control)
	for range loopAttempts {
		free, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("a free one: %w", err)
		}
		node, err := blockNode(fmt.Sprintf("/dev/loop%d", free))
		if err != nil {
			return nil, err
		}
		loop, err := os.OpenFile(node, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: loopBlock}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		copy(config.Info.File_name[:len(config.Info.File_name)-1], file.Name())
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			if err = isDirect(loop); err == nil {
				return loop, nil
			}
		}
		loop.Close()
		// EBUSY: somebody else was quicker
		if err != unix.EBUSY {
			return nil, fmt.Errorf("%s: %w", node, err)
		}
	}
	return nil, errors.New("others take each that is free")
}

// isDirect fails where the kernel did without direct I/O, which it does not say by itself.
func isDirect(loop *os.File) error {
	info, err := unix.IoctlLoopGetStatus64(int(loop.Fd()))
	if err != nil {
		return err
	}
	if info.Flags&unix.LO_FLAGS_DIRECT_IO == 0 {
		return errors.New("its file system has no direct I/O")
	}
	return nil
}

// detachLoops lets go of the file, whoever attached it.
func detachLoops(file string) error {
	for until := time.Now().Add(loopGoneFor); ; time.Sleep(loopPoll) {
		loops, err := loopsOf(file)
		if err != nil || len(loops) == 0 {
			return err
		}
		for _, node := range loops {
			loop, err := unix.Open(node, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", node, err)
			}
			err = unix.IoctlSetInt(loop, unix.LOOP_CLR_FD, 0)
			unix.Close(loop)
			// ENXIO: it went by itself
			if err != nil && err != unix.ENXIO && err != unix.EBUSY {
				return fmt.Errorf("%s: %w", node, err)
			}
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s stays attached to %s", file, loops[0])
		}
	}
}

func loopsOf(file string) ([]string, error) {
	var is unix.Stat_t
	if err := unix.Stat(file, &is); errors.Is(err, unix.ENOENT) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var loops []string
	for _, one := range attached {
		node, err := blockNode("/dev/" + filepath.Base(filepath.Dir(filepath.Dir(one))))
		if err != nil {
			continue // it went meanwhile
		}
		loop, err := unix.Open(node, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(loop)
		unix.Close(loop)
		if err == nil && info.Device == is.Dev && info.Inode == is.Ino {
			loops = append(loops, node)
		}
	}
	return loops, nil
}
