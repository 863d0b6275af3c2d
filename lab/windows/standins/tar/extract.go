package main

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

var errFormat = errors.New("Unrecognized archive format")

// job is one run of tar over one archive.
type job struct {
	opts    options
	failed  bool
	mutex   sync.Mutex
	folders sync.Map
}

// complain reports an entry that could not be handled; tar goes on and ends with 1.
func (j *job) complain(format string, args ...any) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.failed = true
	fmt.Fprintf(os.Stderr, format+"\r\n", args...)
}

func (j *job) finish() {
	if j.failed {
		die("Error exit delayed from previous errors.")
	}
}

// open recognises the archive by its first bytes, as libarchive does, and returns what handles its entries.
func open(path string) (func(*job), error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		return nil, os.ErrPermission
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(file, head)
	file.Seek(0, io.SeekStart)
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return openZip(file, info.Size())
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<20))
		if err != nil {
			return nil, errFormat
		}
		return func(j *job) { j.tar(unpacked) }, nil
	case n == 512 && bytes.HasPrefix(head[257:], []byte("ustar")):
		return func(j *job) { j.tar(bufio.NewReaderSize(file, 1<<20)) }, nil
	}
	return nil, errFormat
}

func openZip(file *os.File, size int64) (func(*job), error) {
	archive, err := zip.NewReader(file, size)
	if err != nil { // the directory at the end is missing: the file was cut
		return func(j *job) { j.complain("tar: Truncated ZIP file body") }, nil
	}
	return func(j *job) { j.zip(archive) }, nil
}

func (j *job) zip(archive *zip.Reader) {
	if j.opts.mode == 't' {
		out := bufio.NewWriter(os.Stdout)
		defer out.Flush()
		for _, entry := range archive.File {
			if _, ok := j.opts.wanted(entry.Name); ok {
				fmt.Fprint(out, entry.Name, "\r\n")
			}
		}
		return
	}
	queue := make(chan *zip.File, 64)
	var workers sync.WaitGroup
	for range max(2, min(8, 2*runtime.NumCPU())) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for entry := range queue {
				j.zipEntry(entry)
			}
		}()
	}
	for _, entry := range archive.File {
		queue <- entry
	}
	close(queue)
	workers.Wait()
}

func (j *job) zipEntry(entry *zip.File) {
	name, ok := j.place(entry.Name)
	if !ok {
		return
	}
	if entry.FileInfo().IsDir() {
		j.mkdir(name, entry.Name)
		return
	}
	body, err := entry.Open()
	if err != nil {
		j.complain("%s: %v", entry.Name, err)
		return
	}
	defer body.Close()
	j.write(name, entry.Name, body, int64(entry.UncompressedSize64), entry.Modified)
}

func (j *job) tar(stream io.Reader) {
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			j.complain("tar: Truncated tar archive")
			return
		}
		name, ok := j.place(header.Name)
		switch {
		case !ok:
		case j.opts.mode == 't':
			fmt.Print(header.Name, "\r\n")
		case header.Typeflag == tar.TypeDir:
			j.mkdir(name, header.Name)
		case header.Typeflag == tar.TypeReg:
			j.write(name, header.Name, archive, header.Size, header.ModTime)
		case header.Typeflag == tar.TypeSymlink || header.Typeflag == tar.TypeLink:
			// An account without the symlink privilege gets this from the real one.
			j.complain("%s: Can't create '%s'", header.Name, filepath.FromSlash(name))
		}
	}
}

// place checks an entry's name the way bsdtar does: no way out of the folder, no absolute paths.
func (j *job) place(name string) (string, bool) {
	target, ok := j.opts.wanted(name)
	if !ok {
		return "", false
	}
	if len(target) > 1 && target[1] == ':' {
		target = target[2:]
	}
	target = strings.TrimLeft(target, "/")
	for _, part := range strings.Split(target, "/") {
		if part == ".." {
			j.complain("%s: Path contains '..'", name)
			return "", false
		}
	}
	if j.opts.verbose && j.opts.mode == 'x' {
		fmt.Fprintf(os.Stderr, "x %s\r\n", name)
	}
	return target, target != ""
}

func (j *job) mkdir(target, name string) bool {
	if _, done := j.folders.Load(target); done {
		return true
	}
	if err := os.MkdirAll(filepath.FromSlash(target), 0o755); err != nil {
		j.complain("%s: Can't create '%s': %s", name, filepath.FromSlash(target), reason(err))
		return false
	}
	j.folders.Store(target, true)
	return true
}

func (j *job) write(target, name string, body io.Reader, size int64, modified time.Time) {
	local := filepath.FromSlash(target)
	if at := strings.LastIndex(target, "/"); at > 0 && !j.mkdir(target[:at], name) {
		return
	}
	file, err := os.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if os.IsExist(err) {
		if err = os.Remove(local); err != nil {
			j.complain("%s: Can't unlink already-existing object: %s", name, reason(err))
			return
		}
		file, err = os.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	}
	if err != nil {
		j.complain("%s: Can't create '%s': %s", name, local, reason(err))
		return
	}
	buffer := make([]byte, max(512, min(size, 1<<20)))
	// The wrapper hides File.ReadFrom, which would fall back to a small buffer of its own.
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{body}, buffer)
	stamp := syscall.NsecToFiletime(modified.UnixNano())
	syscall.SetFileTime(syscall.Handle(file.Fd()), nil, nil, &stamp)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		j.complain("%s: %s", name, writeFailure(err))
	}
}

func writeFailure(err error) string {
	switch {
	case errors.Is(err, zip.ErrChecksum):
		return "ZIP bad CRC"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, zip.ErrFormat):
		return "Truncated ZIP file body"
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return "Write failed: " + reason(err)
	}
	return "ZIP decompression failed (-3)"
}

// reason is strerror() of what Windows answered.
func reason(err error) string {
	const sharing, diskFull = syscall.Errno(32), syscall.Errno(112)
	switch {
	case errors.Is(err, diskFull):
		return "No space left on device"
	case errors.Is(err, sharing), os.IsPermission(err):
		return "Permission denied"
	case os.IsNotExist(err):
		return "No such file or directory"
	}
	return err.Error()
}
