package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// mostCached is how many bytes of files are kept for TFTP. Boot programs have one or two megabytes.
const mostCached = 256 << 20

// fileCache keeps whole files in memory, each until it changes, so that a storm of the same boot program reads it once.
type fileCache struct {
	mutex sync.Mutex
	kept  map[string]cached
	bytes int64
}

type cached struct {
	version string
	content []byte
}

func newFileCache() *fileCache {
	return &fileCache{kept: map[string]cached{}}
}

// versionOf tells one content of a file from another: inode, size, time of change in nanoseconds. The parent writes it alike.
func versionOf(info os.FileInfo) string {
	stat, isUnix := info.Sys().(*syscall.Stat_t)
	if !isUnix {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x", stat.Ino, stat.Size, stat.Mtim.Nano())
}

// read returns the file in the version that was ordered.
func (c *fileCache) read(path, version string) ([]byte, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock() // a second asker of a new file waits for the first one's reading
	if one, there := c.kept[path]; there && one.version == version {
		return one.content, nil
	}
	file, size, err := openVersion(path, version)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > mostCached {
		return nil, fmt.Errorf("%s has %d bytes: too large for TFTP", path, size)
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(file, content); err != nil {
		return nil, err
	}
	c.bytes -= int64(len(c.kept[path].content))
	delete(c.kept, path)
	for other, one := range c.kept {
		if c.bytes+size <= mostCached {
			break
		}
		c.bytes -= int64(len(one.content))
		delete(c.kept, other)
	}
	c.kept[path] = cached{version, content}
	c.bytes += size
	return content, nil
}

// openVersion opens a file that is still the one that was ordered.
func openVersion(path, version string) (*os.File, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && versionOf(info) != version {
		err = fmt.Errorf("%s changed meanwhile", path)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}
