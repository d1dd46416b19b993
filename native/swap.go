package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swap makes room that the kernel may push memory out to, and takes it away.
//
//	ironwright-native swap on plain|encrypted|zram FILE BYTES
//	ironwright-native swap off|show FILE
//
// plain is the file itself; encrypted a mapping over it, by a key that nobody keeps; zram compressed memory, which FILE only names. It
// is new: what an earlier one holds of anybody's memory is not kept. off brings back what is in it first, and removes it, also what was
// left half made; but a zram device whose maker was killed before it wrote the header is nobody's, empty, and stays until the next start
// of the machine. show prints what is on as JSON, null where nothing is.
func swap(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "on" && swapKinds[args[1]] != nil:
		size, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil || size < smallestSwap {
			return fmt.Errorf("%q is not a size of at least %d bytes", args[3], smallestSwap)
		}
		return swapOn(args[1], args[2], size-size%int64(os.Getpagesize()))
	case len(args) == 2 && args[0] == "off":
		return swapOff(args[1])
	case len(args) == 2 && args[0] == "show":
		return showSwap(args[1])
	default:
		return errors.New("want on plain|encrypted|zram FILE BYTES, or off|show FILE")
	}
}

const (
	smallestSwap = 1 << 20
	// swapPriority, the highest there is: before what else the host has, for this is where it belongs. The kernel takes turns with its like
	swapPriority   = 0x7fff
	swapFlagPrefer = 0x8000
)

// swapID tells what is made for a file from all else: containers may each have one of the same path.
type swapID [16]byte

// swapKinds make what is used, of this size, and say where it is.
var swapKinds = map[string]func(file string, size int64, id swapID) (device string, err error){
	"plain":     plainSwap,
	"encrypted": encryptedSwap,
	"zram":      zramSwap,
}

func swapIDOf(file string) (swapID, error) {
	var dir unix.Stat_t
	if err := unix.Stat(filepath.Dir(file), &dir); err != nil {
		return swapID{}, fmt.Errorf("%s: %w", filepath.Dir(file), err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%d:%s", dir.Dev, dir.Ino, filepath.Base(file)))
	return swapID(sum[:len(swapID{})]), nil
}

func swapOn(kind, file string, size int64) error {
	id, err := swapIDOf(file)
	if err != nil {
		return err
	}
	if err := swapOff(file); err != nil {
		return err
	}
	device, err := swapKinds[kind](file, size, id)
	if err == nil {
		err = useForSwap(device, size, id)
	}
	if err != nil {
		return errors.Join(err, swapOff(file))
	}
	return nil
}

func plainSwap(file string, size int64, _ swapID) (string, error) {
	handle, err := makeSwapFile(file, size)
	if err != nil {
		return "", err
	}
	return file, handle.Close()
}

// notForSwap are file systems whose files are in memory themselves, or are written by who needs memory for it. A loop device takes them.
var notForSwap = map[int64]string{
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.FUSE_SUPER_MAGIC:      "FUSE",
	unix.NFS_SUPER_MAGIC:       "NFS",
	unix.SMB2_SUPER_MAGIC:      "SMB",
	unix.CEPH_SUPER_MAGIC:      "Ceph",
	unix.V9FS_MAGIC:            "9P",
}

func makeSwapFile(file string, size int64) (*os.File, error) {
	var in unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(file), &in); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Dir(file), err)
	}
	if name := notForSwap[in.Type]; name != "" {
		return nil, fmt.Errorf("%s is on %s, where no swap can be", filepath.Dir(file), name)
	}
	handle, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// a swap file has no holes: swapon(8)
	if err := unix.Fallocate(int(handle.Fd()), 0, 0, size); err != nil {
		handle.Close()
		return nil, fmt.Errorf("room for %d bytes: %w", size, err)
	}
	return handle, nil
}

func useForSwap(device string, size int64, id swapID) error {
	handle, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = handle.WriteAt(swapHeader(size, int64(os.Getpagesize()), id), 0)
	if err == nil {
		err = handle.Sync()
	}
	if err := errors.Join(err, handle.Close()); err != nil {
		return err
	}
	return swapCall(unix.SYS_SWAPON, device, swapFlagPrefer|swapPriority)
}

const (
	swapHeaderInfo = 1024
	swapHeaderUUID = swapHeaderInfo + 12
)

// swapHeader is the first page: union swap_header of linux/swap.h.
func swapHeader(size, pageSize int64, id swapID) []byte {
	header := make([]byte, pageSize)
	const version = 1
	binary.NativeEndian.PutUint32(header[swapHeaderInfo:], version)
	binary.NativeEndian.PutUint32(header[swapHeaderInfo+4:], uint32(size/pageSize-1))
	copy(header[swapHeaderUUID:], id[:])
	copy(header[pageSize-10:], "SWAPSPACE2")
	return header
}

func swapOff(file string) error {
	id, err := swapIDOf(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unuseForSwap(file); err != nil {
		return err
	}
	if mapping := mappingOf(id); mapping != "" {
		if err := unuseForSwap(mapping); err != nil {
			return err
		}
		if err := removeMapping(id); err != nil {
			return err
		}
	}
	if err := detachLoops(file); err != nil {
		return err
	}
	if zram := zramOf(id); zram != "" {
		if err := unuseForSwap(zram); err != nil {
			return err
		}
		if err := removeZram(zram); err != nil {
			return err
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func unuseForSwap(device string) error {
	// EINVAL: it is not in use
	if err := swapCall(unix.SYS_SWAPOFF, device, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
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

// swapInUse is what /proc/swaps says of one.
type swapInUse struct {
	Kind      string `json:"kind"`
	Bytes     int64  `json:"bytes"`
	UsedBytes int64  `json:"usedBytes"`
}

func showSwap(file string) error {
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return err
	}
	id, err := swapIDOf(file)
	if errors.Is(err, os.ErrNotExist) {
		return printSwap(nil)
	}
	if err != nil {
		return err
	}
	kinds := map[string]string{file: "plain"}
	if mapping := mappingOf(id); mapping != "" {
		kinds[mapping] = "encrypted"
	}
	if zram := zramOf(id); zram != "" {
		kinds[zram] = "zram"
	}
	return printSwap(findSwap(string(swaps), kinds))
}

func printSwap(found *swapInUse) error { return json.NewEncoder(os.Stdout).Encode(found) }

// findSwap reads /proc/swaps, proc_swaps(5): sizes in KiB, and what a name may not hold is escaped.
func findSwap(swaps string, kinds map[string]string) *swapInUse {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for _, line := range strings.Split(swaps, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		used, err2 := strconv.ParseInt(fields[3], 10, 64)
		if kind := kinds[unescape.Replace(fields[0])]; kind != "" && err == nil && err2 == nil {
			return &swapInUse{kind, size * 1024, used * 1024}
		}
	}
	return nil
}

// loadModules is in vain where they are built in, and where there are none.
func loadModules(names ...string) {
	for _, name := range names {
		exec.Command("modprobe", "-q", name).Run()
	}
}
